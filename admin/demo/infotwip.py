"""Demo people of the marketplace of consultations, work and files."""

from __future__ import annotations

from admin.demo.people import CUSTOMER, STAFF, Offer, Person, minutes, quarter_hours, seconds

_EXPERT = ("member", "expert")

PEOPLE = (
    CUSTOMER,
    STAFF,
    Person(
        key="expert",
        name="Dr. Elena Marin",
        roles=_EXPERT,
        headline="Contract and tenancy law, plainly explained",
        about="Twelve years in practice; answers first, paragraphs second.",
        education="Doctorate in civil law, University of Bucharest.",
        experience="Twelve years of tenancy and contract cases, four of them in arbitration.",
        skills=("tenancy", "contracts", "mediation"),
        languages=("en", "ro", "fr", "ru"),
        categories=("law",),
        status="available",
        timezone="Europe/Bucharest",
        offers=(
            Offer(
                key="lease",
                category="law",
                texts={
                    "en": (
                        "Tenancy law: your lease, your deposit, your notice",
                        "Bring the lease to the camera and we go through it clause by clause. "
                        "The first minute of the first session is free.",
                    ),
                    "ru": (
                        "Жилищное право: договор найма, залог, выселение",
                        "Покажите договор камере, и мы разберём его пункт за пунктом. "
                        "Первая минута первого сеанса бесплатна.",
                    ),
                },
                tariff=quarter_hours(1_200),
            ),
            Offer(
                key="contract",
                category="law",
                texts={
                    "en": (
                        "A second pair of eyes on your contract",
                        "Freelance, employment or supplier contract: what to strike, "
                        "what to ask for.",
                    )
                },
                tariff=minutes(110),
            ),
        ),
    ),
    Person(
        key="jonas",
        name="Jonas Weber",
        roles=_EXPERT,
        headline="Tax adviser for freelancers and small companies",
        about="Returns, VAT across borders, and what to keep receipts of.",
        education="Certified tax adviser.",
        experience="Nine years with small companies in three countries.",
        skills=("VAT", "bookkeeping"),
        languages=("de", "en"),
        categories=("taxes",),
        status="available",
        timezone="Europe/Berlin",
        offers=(
            Offer(
                key="vat",
                category="taxes",
                texts={
                    "en": (
                        "VAT across borders, by the second",
                        "Short questions deserve short bills: you pay exactly the time we talk.",
                    )
                },
                tariff=seconds(9_000),
            ),
        ),
    ),
    Person(
        key="aiko",
        name="Aiko Tanaka",
        roles=_EXPERT,
        headline="Career coach, formerly hiring manager",
        about="Interviews, offers and the conversation before you resign.",
        experience="Eight years of hiring, five of coaching.",
        skills=("interviews", "negotiation"),
        languages=("en", "ja"),
        categories=("career",),
        status="away",
        timezone="Asia/Tokyo",
        offers=(
            Offer(
                key="interview",
                category="career",
                texts={
                    "en": (
                        "Mock interview with honest feedback",
                        "Half rehearsal, half debrief. Have the job advert at hand.",
                    )
                },
                tariff=quarter_hours(1_800),
                modes=("video", "audio"),
            ),
        ),
    ),
    Person(
        key="noor",
        name="Noor Haddad",
        roles=_EXPERT,
        headline="Sleep and infant feeding consultant",
        about="For parents at three in the morning, and at three in the afternoon.",
        languages=("en", "ar", "fr"),
        categories=("family",),
        status="busy",
        timezone="America/New_York",
        hours=(15, 23),
        offers=(
            Offer(
                key="sleep",
                category="family",
                texts={
                    "en": (
                        "Baby sleep, without tears where possible",
                        "We look at the last three nights and make a plan for the next three.",
                    )
                },
                tariff=minutes(95),
            ),
        ),
    ),
    Person(
        key="pavel",
        name="Pavel Orlov",
        roles=_EXPERT,
        headline="Programs that do the dull part of your day",
        about="Small tools, done within days, with a page on how to use them.",
        education="Applied mathematics, Tartu.",
        experience="Ten years of backend work; two hundred small scripts for small companies.",
        skills=("Python", "spreadsheets", "automation"),
        languages=("ru", "en"),
        categories=("it", "languages"),
        timezone="Europe/Tallinn",
        offers=(
            Offer(
                key="script",
                kind="work",
                category="it",
                texts={
                    "en": (
                        "A script that fills your spreadsheet for you",
                        "From your folder of files to one tidy table, at the press of a key.",
                    ),
                    "ru": (
                        "Скрипт, который заполнит таблицу за вас",
                        "Из папки с файлами в одну аккуратную таблицу одним нажатием.",
                    ),
                },
                price_minor=6_000,
                delivery_days=5,
                requirements="Which files do you have, and what should the table show?",
            ),
            Offer(
                key="phrases",
                kind="files",
                category="languages",
                texts={
                    "en": (
                        "Two hundred phrases for the office in Russian",
                        "Two lists to print and one link to hear them spoken.",
                    )
                },
                price_minor=900,
                files={
                    "phrases-1.txt": "Доброе утро - good morning\nДо завтра - see you tomorrow\n",
                    "phrases-2.txt": "Перезвоните, пожалуйста - please call back\n",
                },
                links=("https://example.org/phrases",),
            ),
        ),
    ),
)
