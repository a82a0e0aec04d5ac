"""What a vector must be: the hashing provider's algorithm (embed/hashing.h), written a second time from its description.

The fake embeddings server uses the same algorithm, so that every vector that any test stores can be recomputed from the
model's name and the text, and "there is a vector" is never taken for "the vector is right".
"""
import numpy

MASK = 0xFFFFFFFFFFFFFFFF
PRIME1, PRIME2, PRIME3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
PRIME4, PRIME5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK


def _round(lane, word):
    return _rotate(lane + word * PRIME2 & MASK, 31) * PRIME1 & MASK


def xxh64(data, seed=0):
    """XXH64 of bytes, as in its specification."""
    length, at = len(data), 0
    if length >= 32:
        lanes = [seed + PRIME1 + PRIME2 & MASK, seed + PRIME2 & MASK, seed, seed - PRIME1 & MASK]
        words = numpy.frombuffer(data, "<u8", length // 32 * 4).tolist()
        for i in range(0, len(words), 4):
            lanes = [_round(lane, word) for lane, word in zip(lanes, words[i:i + 4])]
        total = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            total = ((total ^ _round(0, lane)) * PRIME1 + PRIME4) & MASK
        at = length // 32 * 32
    else:
        total = seed + PRIME5 & MASK
    total = total + length & MASK
    while length - at >= 8:
        total = (_rotate(total ^ _round(0, int.from_bytes(data[at:at + 8], "little")), 27) * PRIME1 + PRIME4) & MASK
        at += 8
    if length - at >= 4:
        word = int.from_bytes(data[at:at + 4], "little")
        total = (_rotate(total ^ (word * PRIME1 & MASK), 23) * PRIME2 + PRIME3) & MASK
        at += 4
    for byte in data[at:]:
        total = _rotate(total ^ (byte * PRIME5 & MASK), 11) * PRIME1 & MASK
    total = (total ^ total >> 33) * PRIME2 & MASK
    total = (total ^ total >> 29) * PRIME3 & MASK
    return total ^ total >> 32


def vectors(model, texts, dimensions):
    """float32, one row a text. The text is what is sent: a prefix is part of it."""
    seed = xxh64(model.encode())
    states = numpy.array([xxh64(text.encode(), seed) for text in texts], numpy.uint64).reshape(-1, 1)
    steps = numpy.arange(1, (dimensions + 1) // 2 + 1, dtype=numpy.uint64)
    with numpy.errstate(over="ignore"):
        words = states + steps * numpy.uint64(0x9E3779B97F4A7C15)
        words = (words ^ words >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ words >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        words ^= words >> numpy.uint64(31)
    numbers = numpy.empty((len(texts), 2 * len(steps)), numpy.int64)
    numbers[:, 0::2] = (words & numpy.uint64(0xFFFFFFFF)) >> numpy.uint64(8)
    numbers[:, 1::2] = words >> numpy.uint64(40)
    numbers = numbers[:, :dimensions] - 2 ** 23
    norms = numpy.sqrt((numbers * numbers).sum(axis=1).astype(numpy.float64)).reshape(-1, 1)
    return (numbers * (1 / norms)).astype(numpy.float32)


def compare(stored, documents, model, dimensions, half=False):
    """What is wrong with a space: a list of sentences, empty when all is well.

    stored: pairs of id and vector (a row of numbers), documents: id -> text that must have been embedded.
    """
    found = {}
    wrong = []
    for key, vector in stored:
        if key in found:
            wrong.append(f"{key}: two vectors")
        found[key] = vector
    wrong += [f"{key}: no vector" for key in documents.keys() - found.keys()]
    wrong += [f"{key}: a vector, but no document" for key in found.keys() - documents.keys()]
    keys = [key for key in documents if key in found]
    sizes = {key: len(found[key]) for key in keys if len(found[key]) != dimensions}
    wrong += [f"{key}: {size} dimensions" for key, size in sizes.items()]
    keys = [key for key in keys if key not in sizes]
    if keys:
        expected = vectors(model, [documents[key] for key in keys], dimensions)
        if half:
            expected = expected.astype(numpy.float16).astype(numpy.float32)
        actual = numpy.array([found[key] for key in keys], numpy.float32)
        wrong += [f"{keys[i]}: not the vector of {documents[keys[i]][:60]!r}"
                  for i in numpy.flatnonzero((actual != expected).any(axis=1))]
    return wrong
