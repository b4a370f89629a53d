"""How the libraries that compute say that the memory does not suffice."""

_SAYINGS = (
    "can't allocate memory",
    "not enough memory",
    "Storage size calculation overflowed",
    "integer multiplication overflow",
    "Overflow when unpacking long",
)
"""Of torch on the CPU, in RuntimeErrors and TypeErrors that it raises for other reasons too."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that more memory was asked for than there is.

    Parameters
    ----------
    error : BaseException
        Of Python, NumPy or torch, on the CPU or a GPU; torch need not be imported.

    Returns
    -------
    bool
        Also true for sizes that no address reaches.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError | TypeError) and any(
        saying in str(error) for saying in _SAYINGS
    )
