"""What the mails of the sample world are made of: texts with their probabilities. `<KIND>` is where personal data stand."""

from __future__ import annotations

Choices = tuple[tuple[str, float], ...]

# Habits nobody sees directly: how a sender writes, and what a recipient is to the sender.
STYLES = {"formal": 0.4, "friendly": 0.4, "brief": 0.2}
RELATIONS = {"colleague": 0.4, "customer": 0.35, "friend": 0.25}

GREETINGS: dict[str, Choices] = {
    "colleague": (("Hi <NAME>,", 0.8), ("Hello <NAME>,", 0.2)),
    "customer": (("Dear <NAME>,", 0.9), ("Good morning <NAME>,", 0.1)),
    "friend": (("Hey <NAME>,", 0.8), ("Hi <NAME>,", 0.2)),
}
OPENINGS: dict[str, Choices] = {
    "formal": (("I hope this mail finds you well. ", 0.7), ("", 0.3)),
    "friendly": (("I hope you had a great weekend! ", 0.5), ("I hope you are doing well! ", 0.3), ("", 0.2)),
    "brief": (("", 1.0),),
}
THANKS: dict[str, Choices] = {  # how an answer opens
    "formal": (("Thank you for your message. ", 0.8), ("Thank you for getting back to me. ", 0.2)),
    "friendly": (("Thanks for your mail! ", 0.7), ("Great to hear from you! ", 0.3)),
    "brief": (("Thanks. ", 0.6), ("", 0.4)),
}
ENDINGS: dict[str, Choices] = {
    "formal": ((" Please let me know if you have any questions.", 0.7), (" I look forward to hearing from you.", 0.3)),
    "friendly": ((" Let me know what you think.", 0.6), (" Have a great day!", 0.4)),
    "brief": (("", 1.0),),
}
SIGN_OFFS: dict[str, Choices] = {
    "formal": (("Kind regards,", 0.6), ("Best regards,", 0.3), ("Sincerely,", 0.1)),
    "friendly": (("All the best,", 0.7), ("Best wishes,", 0.3)),
    "brief": (("Thanks,", 0.7), ("Best,", 0.3)),
}

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
MONTHS = ("January", "March", "April", "June", "July", "October")
CITIES = ("Berlin", "Chicago", "Lisbon", "London", "Madrid", "Oslo", "Tokyo", "Vienna")
THINGS = ("chairs", "desks", "headsets", "keyboards", "lamps", "monitors", "printers", "tablets")
TIMES: Choices = (("9 am", 0.4), ("11 am", 0.3), ("2 pm", 0.2), ("4:30 pm", 0.1))
COUNTS: Choices = (("two", 0.4), ("five", 0.3), ("twelve", 0.2), ("forty", 0.1))

# topic: (subject, what the slot of the subject may be)
SUBJECTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "meeting": ("Meeting on {}", DAYS),
    "report": ("Report for {}", MONTHS),
    "trip": ("Trip to {}", CITIES),
    "order": ("Order of {}", THINGS),
    "invoice": ("Invoice for the {}", THINGS),
}
# What may be drawn besides the slot of the subject, which is {0}.
DRAWN: dict[str, Choices] = {
    "meeting": TIMES,
    "report": tuple((day, 0.2) for day in DAYS),
    "trip": tuple((day, 0.2) for day in DAYS),
    "order": COUNTS,
    "invoice": tuple((day, 0.2) for day in DAYS),
}
# What a new mail says, by topic; {1} is what is drawn.
CORES: dict[str, Choices] = {
    "meeting": (
        ("Can we meet on {0} at {1} to talk about the next steps?", 0.7),
        ("Our meeting on {0} starts at {1}.", 0.3),
    ),
    "report": (
        ("Could you send me the report for {0} by {1}?", 0.6),
        ("The report for {0} will be ready on {1}.", 0.4),
    ),
    "trip": (("Would you like to join the trip to {0} on {1}?", 0.6), ("My train to {0} leaves on {1} at 7:45.", 0.4)),
    "order": (
        ("We would like to order {1} new {0} for the office.", 0.6),
        ("The {1} {0} that you ordered are on their way.", 0.4),
    ),
    "invoice": (("Please pay the invoice for the {0} by {1}.", 0.6), ("The invoice for the {0} was paid on {1}.", 0.4)),
}
# What is answered to each of them, in the same order.
ANSWERS: dict[str, tuple[Choices, ...]] = {
    "meeting": (
        (
            ("Yes, {0} at {1} works well for me.", 0.7),
            ("Unfortunately I am busy on {0} at {1}. Could we talk on the phone instead?", 0.3),
        ),
        (("I will be there on {0} at {1}.", 1.0),),
    ),
    "report": (
        (
            ("I will send you the report for {0} by {1}.", 0.8),
            ("The report for {0} needs more time than until {1}, I am sorry.", 0.2),
        ),
        (("I look forward to reading the report for {0} on {1}.", 1.0),),
    ),
    "trip": (
        (
            ("I would love to join the trip to {0} on {1}.", 0.6),
            ("I cannot travel to {0} on {1}, but please take many pictures.", 0.4),
        ),
        (("Have a safe trip to {0} on {1}.", 1.0),),
    ),
    "order": (
        (
            ("We have {1} {0} in stock and will ship them tomorrow.", 0.7),
            ("I am afraid that {1} {0} are more than we have in stock.", 0.3),
        ),
        (("The {1} {0} arrived this morning and everything is fine.", 1.0),),
    ),
    "invoice": (
        (
            ("We will pay the invoice for the {0} by {1}.", 0.8),
            ("The invoice for the {0} seems to be wrong, so we cannot pay it by {1}.", 0.2),
        ),
        (("I can confirm that the invoice for the {0} was paid on {1}.", 1.0),),
    ),
}
# A sentence with personal data, by topic.
PERSONAL: dict[str, Choices] = {
    "meeting": (("", 0.6), (" You can call me at <PHONE>.", 0.25), (" The link to join is <URL>.", 0.15)),
    "report": (
        ("", 0.6),
        (" Please send it to <EMAIL>.", 0.25),
        (" You will find the numbers at <URL>.", 0.1),
        (" The server is <IP>.", 0.05),
    ),
    "trip": (("", 0.6), (" My number on the way is <PHONE>.", 0.25), (" The hotel is at <ADDRESS>.", 0.15)),
    "order": (("", 0.6), (" The parcel goes to <ADDRESS>.", 0.25), (" My colleague answers at <EMAIL>.", 0.15)),
    "invoice": (("", 0.6), (" The account is <ACCOUNT>.", 0.25), (" The card is <CARD>.", 0.15)),
}
ANSWERED = 0.5  # share of mails that answer another
