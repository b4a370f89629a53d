"""Values of the options by which samples that were made elsewhere are described."""


def number_pair(text: str | None) -> tuple[float, float] | None:
    """Read the two numbers of a value range.

    Raises
    ------
    SpecError
        The text is something else.
    """
    from reprostore.errors import SpecError

    if text is None:
        return None
    try:
        black, white = map(float, text.split(","))
    except ValueError as error:
        raise SpecError(
            f"{text!r} is no value range.",
            "It is made of the values of black and of white.",
            'Write it as "0,1".',
        ) from error
    return black, white


def sample_shape(text: str | None) -> tuple[int, ...] | None:
    """Read the lengths of a sample's dimensions.

    Raises
    ------
    SpecError
        The text is something else.
    """
    from reprostore.errors import SpecError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise SpecError(
            f"{text!r} is no shape.",
            "It is made of the numbers of channels, rows and columns.",
            'Write it as "3,32,32".',
        ) from error
