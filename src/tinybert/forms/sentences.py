"""Sentences to check a form on where no rows are given: long and short, plain and odd."""

from __future__ import annotations

__all__ = ["SENTENCES"]

SENTENCES = (
    "It rained all night, and by the morning the road to the village was under water.",
    "Yes.",
    "The battery lasts two days, but the screen scratches far too easily.",
    "Please send me the invoice for March before Friday.",
    "What a dull, badly acted and endless film!",
    "Der Zug nach Hamburg fährt heute von Gleis 7.",
    "The committee, which had met three times since June, could not agree on a date.",
    "My order #48213 has not arrived; it was due on 12/05.",
    "She laughed until she cried.",
    "Prices rose by 2.4 % in the second quarter, less than economists had expected.",
    "How do I reset my password if I no longer have that e-mail address?",
    "A warm, funny story, told with great skill.",
    "The kidneys filter about 180 litres of blood plasma a day.",
    "Not bad, not good, just there.",
    "Turn left at the church and follow the river for about two miles.",
    "The contract may be ended by either side with a notice of thirty days in writing.",
    "Three goals in the last ten minutes turned the match around.",
    "He said that she had said that nobody had said anything.",
    "Le café était froid et le serveur de mauvaise humeur.",
    "Heat the oil, add the onions, and stir until they are golden.",
    "!!! GREAT deal !!! click here",
    "Light from the nearest star takes more than four years to reach us.",
    "I would not recommend this hotel to anyone who needs to sleep.",
    "The old bridge was closed in 1987 and has been a footpath ever since.",
    "None of the tests failed, which worried her more than if they had.",
    "Could you speak a little more slowly, please?",
    "The patient was given 5 mg twice a day and recovered within a week.",
    "It is the best phone that I have ever had, by far.",
    "After the concert they walked home along the harbour without a word.",
    "naïve café, résumé, coöperate, jalapeño",
    "The minister denied the report and then resigned.",
    "Thank you so much, everything worked at once.",
)
