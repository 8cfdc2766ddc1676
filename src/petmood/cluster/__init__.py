"""Many machines: within `on_cluster` every `parallel.run_tasks` sends its tasks to a Dask cluster.

The tasks are those of one machine, and so are the order of their results and the bytes that they write. A worker that
dies costs the tasks that it had: others do them again.

Dask is spoken to directly. joblib's backend for it waits for ever on a task that Dask has given up because each worker
that tried it died, and cannot say which task that was.
"""

from petmood.cluster.sending import on_cluster

__all__ = ["on_cluster"]
