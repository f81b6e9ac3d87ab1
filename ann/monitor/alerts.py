"""What a monitor raises: the rule, its limit, what was found, and what to do."""

from dataclasses import dataclass

from ann.monitor.following import Move
from ann.monitor.settings import Settings

CODES = ("norms", "scores", "recall")
SCORES = {
    "cosine": "cosine similarity",
    "ip": "inner product",
    "l2": "distance",
    "l1": "distance",
}


@dataclass(frozen=True)
class Alert:
    """Something that is not as it was.

    Attributes
    ----------
    code : {"norms", "scores", "recall"}
        What moved: the queries' norms, the score of the best answer, or recall@k.
    cause : {"queries", "index", "unknown"}
        Whose fault it seems to be: the queries are out of distribution, or the
        index does not find what it holds.
    sentence : str
        The rule, its limit, the value, and what to do.
    baseline, value, limit : float
        The mean that was learnt, the mean now, and how far apart they may be.
    query : int
        How many queries had been looked at.
    """

    code: str
    cause: str
    sentence: str
    baseline: float
    value: float
    limit: float
    query: int

    def __str__(self) -> str:
        return self.sentence


def of_norms(move: Move, limit: float, settings: Settings, query: int) -> Alert:
    """Return the alert that queries are of another length."""
    advice = "the queries are out of distribution; look at whatever makes them"
    if abs(move.baseline - 1) < 0.02:
        advice += ": they had norm 1, so a step that normalises them may be missing"
    if settings.metric == "cosine":
        advice += " (under cosine the length itself changes no answer)"
    rule = f"query norms must stay within {settings.shift:.0%} of their mean"
    return _alert("norms", "queries", rule, move, limit, advice, query)


def of_scores(
    move: Move, limit: float, settings: Settings, cause: str, query: int
) -> Alert:
    """Return the alert that the best answers are nearer or farther than they were."""
    what = SCORES[settings.metric]
    share = settings.metric != "cosine"
    far = f"{settings.shift:.0%}" if share else f"{settings.shift:g}"
    rule = f"top-1 scores ({what}) must stay within {far} of their mean"
    advice = {
        "queries": "the index does not miss better ones, so the queries are out of "
        "distribution; compare them with those that the baseline was learnt from",
        "index": "exact search finds better ones, so the index does not find what it "
        "holds; call index.check()",
        "unknown": "too few queries were checked exactly to tell why",
    }[cause]
    return _alert("scores", cause, rule, move, limit, advice, query)


def of_recall(
    move: Move, limit: float, settings: Settings, cause: str, query: int
) -> Alert:
    """Return the alert that answers are less complete than they were."""
    rule = f"recall@{settings.k} must stay within {settings.drop:g} of its baseline"
    advice = {
        "queries": "the queries have changed too, and are out of distribution: look at "
        "what makes them first, then search with more effort",
        "index": "the queries do not explain it, so look at the index: call "
        "index.check(), and see whether ef_search or nprobe is what it was",
        "unknown": "too few queries were checked exactly to tell why",
    }[cause]
    return _alert("recall", cause, rule, move, limit, advice, query)


def _alert(
    code: str, cause: str, rule: str, move: Move, limit: float, advice: str, query: int
) -> Alert:
    which = "checked queries" if code == "recall" else "queries"
    got = f"{move.value:.3g} over the last {move.size} {which}"
    sentence = f"{rule} {move.baseline:.3g}, got {got}: {advice}"
    return Alert(code, cause, sentence, move.baseline, move.value, limit, query)
