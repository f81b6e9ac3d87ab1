"""What ``Index.check`` found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """The state of an index.

    Attributes
    ----------
    problems : tuple of str
        What is not as it should be, a sentence each; none in a sound index.
    vectors, removed : int
        How many are inside, and how many removed ones still take memory.
    """

    problems: tuple[str, ...]
    vectors: int
    removed: int

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __str__(self) -> str:
        counts = f"{self.vectors:,} vectors, {self.removed:,} removed"
        return "\n".join(
            [f"{counts}: {'sound' if self.ok else 'not sound'}", *self.problems]
        )
