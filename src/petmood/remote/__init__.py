"""Work folders on remote storage: a mirror on this machine, fetched before a command and pushed after it.

    CACHE/NAME/work/        the mirror: an ordinary work folder, which all stages know
    CACHE/NAME/state.json   what was fetched and pushed, object by object, and the last push that is known here
    URL/.petmood-push.json  the last push: its id, and whether it has ended
    URL/.petmood-lock.json  who writes there now, and a counter that rises

An object is put whole or not at all. A push first takes away the marks of what it is about to change, then puts the
data, and the marks last, as the stages do on a disk: what breaks off counts as unfinished and is done again.
"""

from petmood.remote.claim import claimed
from petmood.remote.mirror import Mirror, cache_folder, mirror_of

__all__ = ["Mirror", "cache_folder", "claimed", "mirror_of"]
