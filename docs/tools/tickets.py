"""Write the tutorial's data: support tickets to an invented software company.

The tickets are put together from parts, with typing mistakes, side remarks about other topics and
a few wrong labels. Every fourth part occurs in the test file only, so that a classifier has to
understand sentences that it has not seen. The same seed writes the same files.
"""

import csv
import random
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tutorial"
SIZES = {"tickets.csv": 360, "tickets_test.csv": 150}
WRONG_LABELS = 0.03
SHARES = {"bug": 0.35, "billing": 0.28, "account": 0.22, "feature": 0.15}

PARTS = {
    "billing": [
        "I was charged {money} twice on {date}.",
        "The invoice for {month} shows {money}, but our plan costs less.",
        "Please send a refund for order {number}, we cancelled before the trial ended.",
        "My credit card was declined although it works everywhere else.",
        "We need the company's VAT number on invoice {number}.",
        "Why did the price go up by {money} this month?",
        "Can we switch from monthly to yearly payment?",
        "I cancelled in {month} and you still took {money}.",
        "The discount code from your newsletter wasn't applied.",
        "Our accounting department can't find the receipt for {month}.",
        "There is a payment of {money} on my statement that I don't recognise.",
        "How many seats are we paying for right now?",
        "The student discount has disappeared from my subscription.",
        "We were billed for {count} users, but only half of them are active.",
        "The page where I enter the card number stays empty.",
        "I can't see our invoices any more since my role was changed.",
        "Could we get one bill for all our teams instead of {count}?",
    ],
    "bug": [
        "The {platform} app crashes when I open {place}.",
        "Export to {format} produces an empty file.",
        "Since the update on {date} {place} loads forever.",
        "Error {number} appears every time I save.",
        "Dates in {place} are off by one day.",
        "Uploading a file larger than {count} MB never finishes.",
        "The search finds nothing, even for titles I can see on the screen.",
        "Notifications arrive hours late on {platform}.",
        "Half of {place} is white in {browser}.",
        "Comments are posted twice when the connection is slow.",
        "Sorting by date puts {month} before everything else.",
        "After copying a board all attachments are gone.",
        "Umlauts turn into question marks in the {format} file.",
        "The sync between {platform} and the website stopped on {date}.",
        "Nothing happens when I click the blue button in {place}.",
        "I get logged out every {count} minutes on {platform}.",
        "The total on the order page is wrong when I add {count} seats.",
        "My profile picture is replaced by a gray square in {browser}.",
    ],
    "account": [
        "I can't log in, the reset mail never arrives.",
        "Please change the email address of my account.",
        "My colleague left on {date}, please transfer her boards to me.",
        "The two-factor code is rejected since I got a new phone.",
        "How do I delete my account and everything in it?",
        "I have two accounts and want to merge them.",
        "An invitation that I sent on {date} has expired, can you send it again?",
        "My account is locked after {count} attempts.",
        "Who is the administrator of our workspace?",
        "I signed up with Google and would like to use a password now.",
        "Please remove {count} former employees from our team.",
        "It says that my user name is taken, but it's mine.",
        "Somebody logged in as me from another country on {date}.",
        "The mail says my trial is over, but I want to keep my data. Who can reopen it?",
        "I see the boards of another company when I sign in.",
        "Can you make me the owner of the billing team?",
    ],
    "feature": [
        "It would be great to have a dark mode in {place}.",
        "Please add an export to {format}.",
        "Is there a keyboard shortcut for archiving? If not, please add one.",
        "Could {place} show more than {count} entries on a page?",
        "We would love an integration with {tool}.",
        "Do you plan a version for {platform}?",
        "A way to repeat tasks every {count} days would save us a lot of work.",
        "Please let us choose our own colors for labels.",
        "Any chance of connecting {tool} this year?",
        "I miss a calendar view like the one in {tool}.",
        "Logging in with a fingerprint on {platform} would be nice.",
        "Why can't I pay with {tool}? Please offer more ways.",
        "Guests should be able to comment without an account.",
    ],
}
SLOTS = {
    "money": ["$12", "$49.90", "19 EUR", "240 dollars", "£8.99", "$1,200"],
    "date": ["Monday", "March 3", "last Friday", "the 14th", "Tuesday night", "2 May"],
    "month": ["January", "February", "April", "June", "October", "December"],
    "number": ["4031", "77", "502", "20817", "INV-3391", "1009"],
    "count": ["3", "10", "25", "50", "7", "100"],
    "platform": ["Android", "iPhone", "Windows", "Mac", "iPad", "Linux"],
    "place": [
        "the calendar",
        "the board",
        "my profile",
        "the dashboard",
        "the settings",
        "reports",
    ],
    "format": ["CSV", "PDF", "Excel", "iCal", "JSON"],
    "browser": ["Firefox", "Safari", "Chrome", "Edge"],
    "tool": ["Slack", "Google Calendar", "Jira", "Outlook", "Zapier"],
}
OPENINGS = ["", "", "", "Hi, ", "Hello, ", "Hi there! ", "Dear support, ", "Hey, ", "Again: "]
REMARKS = [
    "This is urgent.",
    "It worked fine last week.",
    "I already asked on {date} and got no answer.",
    "We are {count} people and all of us have this problem.",
    "Otherwise I'm very happy with it.",
    "I looked in the help pages but found nothing.",
    "We have to decide by {date}.",
    "I'm on the {platform} version.",
    "A colleague said you could help.",
    "Sorry if this is the wrong address.",
]
CLOSINGS = ["", "", "", " Thanks", " Thank you!", " Best, Ana", " Cheers", " Please help.", " thx"]


def fill(rng: random.Random, part: str) -> str:
    for slot, values in SLOTS.items():
        part = part.replace("{" + slot + "}", rng.choice(values))
    return part


def mistype(rng: random.Random, text: str) -> str:
    """Swap two letters, drop one, or write everything in lower case, now and then."""
    if rng.random() < 0.2:
        text = text.lower()
    if rng.random() < 0.25:
        at = rng.randrange(len(text) - 1)
        swapped = text[at + 1] + text[at]
        text = text[:at] + (swapped if rng.random() < 0.5 else text[at]) + text[at + 2 :]
    return text.rstrip(".") if rng.random() < 0.2 else text


def ticket(rng: random.Random, *, test: bool) -> dict[str, str]:
    """Make one row. If `test`, choose among all parts, otherwise among three of every four."""
    label = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
    parts = [part for i, part in enumerate(PARTS[label]) if test or i % 4 != 3]
    sentences = [fill(rng, rng.choice(parts))]
    if rng.random() < 0.45:
        sentences.append(fill(rng, rng.choice(REMARKS)))
    if rng.random() < 0.2:
        other = rng.choice([each for each in PARTS if each != label])
        sentences.append("By the way: " + fill(rng, rng.choice(PARTS[other][:12:2])))
    if rng.random() < 0.2:
        sentences.reverse()
    text = rng.choice(OPENINGS) + " ".join(sentences) + rng.choice(CLOSINGS)
    if rng.random() < WRONG_LABELS:
        label = rng.choice([each for each in PARTS if each != label])
    return {"text": mistype(rng, text), "label": label}


def main() -> None:
    rng = random.Random(0)
    seen: set[str] = set()
    for name, size in SIZES.items():
        rows: list[dict[str, str]] = []
        while len(rows) < size:
            row = ticket(rng, test="test" in name)
            if row["text"] not in seen:
                seen.add(row["text"])
                rows.append(row)
        with (FOLDER / name).open("w", encoding="utf8", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
