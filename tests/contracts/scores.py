"""What every score keeps."""

import json
import math

import orthogen as og


def check(score: og.Score) -> None:
    """Finite, named, with its sample count and a protocol ready for JSON."""
    assert isinstance(score, og.Score)
    assert math.isfinite(score.value)
    assert score.stderr is None or score.stderr >= 0
    assert score.n > 0
    assert score.name
    assert json.loads(json.dumps(score.protocol, allow_nan=False)) == score.protocol
    json.dumps(score.parts, allow_nan=False)
    assert score.name in str(score)
