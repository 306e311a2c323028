"""Demo people of the marketplace of escrowed services."""

from __future__ import annotations

from admin.demo.people import CUSTOMER, STAFF, Offer, Person

_EXPERT = ("member", "expert")

PEOPLE = (
    CUSTOMER,
    STAFF,
    Person(
        key="expert",
        name="Dr. Elena Marin",
        roles=_EXPERT,
        headline="Texts that are read to the end",
        about="Editing and translation for people who have something to say.",
        education="Doctorate in linguistics.",
        experience="Twelve years of editing theses, reports and contracts.",
        skills=("editing", "translation", "contracts"),
        languages=("en", "fa", "fr"),
        categories=("writing", "consulting"),
        timezone="Europe/Bucharest",
        offers=(
            Offer(
                key="editing",
                kind="work",
                category="writing",
                texts={
                    "en": (
                        "Editing of your text, up to 20 pages",
                        "Grammar, order and tone, with every change visible and a page of advice.",
                    ),
                    "fa": (
                        "ویرایش متن شما تا ۲۰ صفحه",
                        "دستور زبان، ساختار و لحن؛ همهٔ تغییرها پیداست و یک صفحه راهنمایی دارد.",
                    ),
                },
                price_minor=4_500,
                delivery_days=4,
                requirements="What is the text for, and who reads it?",
            ),
        ),
    ),
    Person(
        key="reza",
        name="Reza Karimi",
        roles=_EXPERT,
        headline="Logos and pages, clear at every size",
        about="I draw three sketches; you choose; I finish.",
        education="Graphic design, Tehran.",
        experience="Seven years in a studio, four on my own.",
        skills=("logos", "typography", "web design"),
        languages=("fa", "en"),
        categories=("design",),
        timezone="Asia/Tehran",
        hours=(8, 16),
        offers=(
            Offer(
                key="logo",
                kind="work",
                category="design",
                texts={
                    "en": (
                        "A logo from three sketches",
                        "Three directions within two days, the chosen one in every format.",
                    ),
                    "fa": (
                        "طراحی لوگو با سه طرح اولیه",
                        "سه طرح در دو روز و طرح برگزیده در همهٔ قالب‌ها.",
                    ),
                },
                price_minor=12_000,
                delivery_days=7,
                requirements="Name, trade, and three logos that you like.",
            ),
            Offer(
                key="palette",
                kind="files",
                category="design",
                texts={
                    "en": (
                        "Twelve colour palettes for small shops",
                        "Tested in print and on screens, with the values to copy.",
                    )
                },
                price_minor=1_500,
                files={
                    "palettes.txt": "Saffron: #f4a300 #2f2a26\nTurquoise: #1fa8a0 #12343b\n",
                    "read-me.txt": "Every line is a palette: accent, text, background.\n",
                },
            ),
        ),
    ),
    Person(
        key="sara",
        name="Sara Ahmadi",
        roles=_EXPERT,
        headline="Websites that small shops can keep up themselves",
        about="You get the site, the passwords, and an hour of explanation.",
        experience="Sixty shops since 2016.",
        skills=("HTML", "Python", "hosting"),
        languages=("fa", "en"),
        categories=("programming", "teaching"),
        timezone="Asia/Tehran",
        offers=(
            Offer(
                key="site",
                kind="work",
                category="programming",
                texts={
                    "en": (
                        "A website of five pages",
                        "Written to your wish, quick on old phones, yours to change.",
                    )
                },
                price_minor=30_000,
                delivery_days=14,
                requirements="What do you sell, and which pages do you need?",
            ),
            Offer(
                key="lessons",
                kind="work",
                category="teaching",
                texts={
                    "fa": (
                        "برنامهٔ آموزش پایتون در چهار هفته",
                        "تمرین‌های هفتگی با بازخورد نوشتاری.",
                    )
                },
                price_minor=8_000,
                delivery_days=28,
            ),
        ),
    ),
)
