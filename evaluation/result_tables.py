"""The Parquet tables of an evaluation: their columns, named once."""

import pyarrow as pa

from tune.storage.tables import make_schema

_MADE_BY = {"method": pa.string(), "trial_id": pa.string(), "training_seed": pa.int64()}

EVALUATIONS = make_schema(
    {
        "study": pa.string(),
        **_MADE_BY,
        "dim": pa.int64(),
        "protocol": pa.string(),
        "samples_per_class": pa.int64(),
        "n_neighbors": pa.int64(),
        "weights": pa.string(),
        "fold": pa.int64(),
        "metric": pa.string(),
        "value": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "n_train": pa.int64(),
        "n_query": pa.int64(),
        "seconds": pa.float64(),
        "seed": pa.int64(),
        "backend": pa.string(),
    }
)
"""One row per embedding, protocol, setting and fold; ``low`` and ``high`` bound a 95 % interval."""
PREDICTIONS = make_schema(
    {
        "study": pa.string(),
        **_MADE_BY,
        "dim": pa.int64(),
        "samples_per_class": pa.int64(),
        "n_neighbors": pa.int64(),
        "weights": pa.string(),
        "index": pa.int64(),
        "label": pa.int64(),
        "predicted": pa.int64(),
        "source": pa.string(),
    }
)
"""One row per embedding, reported setting and test image: what its neighbours vote for.

``source`` says where the image is from, see `vae.data.splits.Sources`; null where that is not known.
"""


def embeddings_schema(dim: int) -> pa.Schema:
    """Return the schema of one embedding: one row per image; ``dim`` itself is in the path."""
    return make_schema(
        {
            **_MADE_BY,
            "split": pa.string(),
            "index": pa.int64(),
            "label": pa.int64(),
            "source": pa.string(),
            "embedding": pa.list_(pa.float32(), dim),
        }
    )
