"""Function words: those that hold a sentence together and name nothing that a picture shows."""

FUNCTION_WORDS = frozenset(
    {"a", "an", "the", "this", "that", "these", "those", "some", "another", "other", "each", "both", "all", "as"}
    | {"it", "they", "them", "he", "him", "she", "her", "his", "hers", "its", "their", "who", "which", "what", "there"}
    | {"am", "is", "are", "was", "were", "be", "been", "being", "has", "have", "had", "having", "do", "does", "did"}
    | {"can", "will", "to", "not", "n't", "'s", "while", "than", "and", "or", "but", "very", "so", "together"}
    | {"of", "in", "on", "at", "by", "for", "from", "with", "without", "into", "onto", "over", "under", "above"}
    | {"below", "up", "down", "out", "off", "through", "across", "along", "around", "behind", "beside", "between"}
    | {"near", "next", "front", "back", "top", "toward", "towards", "against", "during", "after", "before"}
    | {"inside", "outside"}
)
"""In English. All other words are content words."""
