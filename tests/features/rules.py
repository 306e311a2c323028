"""The rules that the product promises, in its own words, by their IDs.

T: consultations, work and digital goods (the infotwip preset). P: custom services in
escrow (azmoudegan). A test that keeps a rule carries its ID: ``test_T22_...``. `CONTENT` rows are
texts or looks that an operator supplies, so no test is owed for them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    id: str
    text: str
    content: bool = False
    """Configuration or static content only."""


def _rules(text: str) -> tuple[Rule, ...]:
    rules = []
    for line in text.strip().splitlines():
        name, _, what = line.partition(" ")
        rules.append(Rule(name.rstrip("*"), what.strip(), content=name.endswith("*")))
    return tuple(rules)


# A star marks content.
RULES = _rules("""
T1 A listing announces a service
T2 Customers search listings and order
T3 Only registered users create listings
T4 A consultation listing offers video, audio and text in one
T5 A listing has a language
T6 With two languages, title and description are needed in both
T7 A filled-in listing is submitted to moderation
T8 A moderator's check publishes it
T9 Experts tell their availability in the profile
T10 Availability is a grid of 7 days by 24 hours
T11 Availability has a time zone
T12 Only with a published consultation can an expert set a status
T13 The status governs incoming calls
T14 Available: incoming calls ring
T15 Otherwise calls only show as a number
T16 Busy or undefined experts cannot be called
T17 A consultation needs an order whose first quarter of an hour is paid
T18 Only the customer calls
T19 A call needs the expert to be online and available
T20 Answering leads to the call page
T21 The expert presses the start button
T22 Within the first minute the customer withdraws and owes nothing
T23 That free minute belongs to the order's first session only
T24 Later sessions are charged by the started quarter from their first second
T25 One-way video at the customer's wish
T26 One-way costs the same
T27 The expert sees the session's time and their own account
T28 Money moves to the expert during the session
T29 The platform keeps its commission
T30 Only the customer's means limit the duration
T31 An order takes any number of sessions
T32 Too little money ends the session
T33 Either side ends the session at any moment
T34 Answering a text chat leads to the chat page
T35 A text chat's time counts from the customer's second message
T36 Text chats share the account line, flow, limit and cutoff
T37 Listings are found and filtered by their kind
T38 Only registered users order
T39 Each mode has its price and is ordered by it
T40 Where the balance is short, the needed sum is offered for top-up
T41 Money is topped up in the wallet, too
T42 An order is confirmed explicitly
T43 Confirming sets the first quarter of an hour aside
T44 The cabinet lists the customer's orders
T45 The listing leads to the viewer's own order of it
T46 Cancelling returns what was not consumed
T47 The order offers the call while the expert is on the site
T48 The customer waits until the expert answers
T49 After the answer counting begins
T50 The customer's camera and microphone are off until switched on
T51 Time runs from the expert's signal being received, not from joining
T52 Sound alone counts as the signal
T53 The customer sees time and money, too
T54 In text chats time counts after the customer's second message
T55 Listings of kind work
T56 After buying, the parties write to each other within the order
T57 The expert hears of an order by e-mail
T58 Work is paid into escrow and paid out after it is done
T59 The cabinet lists the expert's sales
T60 The parties discuss the work, then it begins
T61 The expert may refuse an order, and the rating feels it
T62 The expert marks the work as done on the order
T63 The customer accepts the work or returns it for rework
T64 Acceptance pays the expert, less the commission
T65 Either side opens a dispute from the order
T66 The platform's arbitration decides it
T67 Too little money for the work: the needed sum is offered for top-up
T68 Confirming debits the whole price
T69 A refusal returns the money to the customer
T70 Told of the completion, the customer accepts or returns
T71 After acceptance the money is the expert's
T72 Digital goods are sold as files or links
T73 Access comes with the payment
T74 Listings of kind files
T75 Files are uploaded only after the first save
T76 A listing has three files at most
T77 Digital goods have correspondence and e-mail notices, too
T78 Money for digital goods passes at once, less the commission
T79 Bought files and links are on the order
T80 Either side disputes digital goods
T81 Arbitration follows the same rules there
T82 The parties write to the arbitration in the cabinet
T83 Complaints exist beside disputes
P1* Safe and easy to use
P2 Two roles: buyers and specialists
P3 Services are made to the buyer's wish
P4 Services and specialists are searched
P5 Suppliers are compared by price, delivery time and more
P6 Knowledge, skills and experience are part of the comparison
P7 Questions before buying
P8 A request goes to one specialist or to several
P9 A request describes the wanted service in detail
P10 Information and files are attached to a request
P11 The cabinet shows all money movements
P12 The price is paid after agreement with the specialist
P13 Payment never happens outside the site
P14 Money stays in escrow until the buyer confirms
P15 The buyer confirms completion on the site
P16 The confirmation pays the specialist
P17 The buyer reviews the service and the specialist
P18 Reviews are public
P19 Members become specialists
P20* A safe, open place for services
P21 Each service is a listing of its own with full details
P22 Listings have suitable photos
P23 The parties stay in touch
P24 Questions, requests and messages are answered fast, and how fast is shown
P25* Patience and kindness
P26 The specialist gets from the buyer what the work needs
P27 Expectations are asked for within the order
P28 Reputation grows with reviews
P29 Reputation ranks the search
""")
