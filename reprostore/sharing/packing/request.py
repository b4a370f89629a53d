"""What is packed of a store, and what the pack says of itself."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from reprostore.errors import SpecError
from reprostore.seeds import shorten

Content = Literal["all", "samples", "vectors"]


@dataclass(frozen=True)
class PackRequest:
    """What is packed of a store, and what the pack says of itself.

    Attributes
    ----------
    content : str
        "samples": runs with their samples. "vectors": runs without samples, with vectors of them
        and of datasets, and neighbors: for images that may not leave the house. "all": samples,
        vectors, neighbors, and results of the packed runs.
    runs : sequence of str, optional
        Paths model/sampler/condition, with ``*`` and ``?`` where several are meant; all if left
        out.
    encoders : sequence of str, optional
        Whose vectors and neighbors; all that may go along when left out.
    datasets : bool
        Whether the items of datasets go along. Else a pack holds what they are (their spec, number
        and fingerprint), for many training sets may not be handed on.
    allow_pixel : bool
        Whether vectors from which an image can be computed are packed although the image is
        withheld.
    title, license, description : str, optional
        For those who receive the pack; title and license of the store when left out.
    creators : sequence of str
        ``Name``, or ``Name <https://orcid.org/…>``; those of the store when left out.
    published : datetime.date
        The date in the README and the metadata of the pack; today when left out.
    """

    content: Content = "all"
    runs: Sequence[str] | None = None
    encoders: Sequence[str] | None = None
    datasets: bool = False
    allow_pixel: bool = False
    title: str | None = None
    license: str | None = None
    description: str | None = None
    creators: Sequence[str] = ()
    published: dt.date = field(default_factory=lambda: dt.datetime.now(dt.UTC).date())

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        known = ", ".join(get_args(Content))
        if self.content not in get_args(Content):
            raise SpecError(
                f"{shorten(str(self.content))!r} is no content of a pack.",
                f"A pack holds {known}.",
                "Choose one of these.",
            )
        if self.content == "vectors" and self.datasets:
            raise SpecError(
                "The items of datasets are to be packed, and the content is vectors.",
                "A pack of vectors holds no images.",
                "Leave out --datasets, or choose the content all.",
            )
        if self.content == "samples" and (self.encoders is not None or self.allow_pixel):
            raise SpecError(
                "Encoders are named, and the content is samples.",
                "A pack of samples holds no vectors.",
                "Leave them out, or choose the content all or vectors.",
            )
