"""How fast near-copies among hashes are found: petmood's exact search beside a brute-force one.

    python benchmarks/near_copies.py --hashes 100000 2000000

Made-up difference hashes as skewed as those of real dog photos (of 499,500 pairs of those 0.15 % differ in 16 bits or
fewer; of independent random bits it would be 0.004 %): signs of neighbouring differences in smooth random fields, eight
perturbed ones a clip. Contestants, each in a fresh process, times without imports and without making the hashes:
    petmood   `petmood.data.near.near_pairs`, all pairs of distinct hashes, two threads
    equal     the same hashes, all of them equal: `petmood.data.copies.find_copies`
    brute     numpy, blocks of rows against all later ones (only up to --brute hashes: its time grows with the square)
    faiss     IndexBinaryFlat.range_search, if faiss is installed
"""

from __future__ import annotations

import argparse
import importlib.util

import numpy as np
import numpy.typing as npt

from measuring import in_turn, machine, median_seconds, peak_mb, tell, timed

Hashes = npt.NDArray[np.uint64]
A_CLIP = 8


def made_up(count: int, *, seed: int = 0) -> Hashes:
    """Hashes of ``count`` frames, eight a clip."""
    generator = np.random.default_rng(seed)
    down, across = (axis.ravel() for axis in np.mgrid[:8, :9])
    apart = np.hypot(down[:, None] - down, across[:, None] - across)
    smooth = np.linalg.cholesky(np.exp(-((apart / 2) ** 1.8)) + 1e-6 * np.eye(72)).astype(np.float32).T
    found = []
    for start in range(0, count, 20_000 * A_CLIP):
        clips = -(-min(20_000 * A_CLIP, count - start) // A_CLIP)
        fields = generator.standard_normal((clips, 1, 72), np.float32) @ smooth
        fields = fields + 0.35 * (generator.standard_normal((clips, A_CLIP, 72), np.float32) @ smooth)
        fields = fields.reshape(-1, 8, 9)
        bits = np.packbits((fields[:, :, 1:] > fields[:, :, :-1]).reshape(-1, 64), axis=1)
        found.append(bits.view(">u8").ravel().astype(np.uint64))
    return np.concatenate(found)[:count]


def petmood(hashes: Hashes, within: int) -> int:
    from petmood.data.near import near_pairs

    return sum(len(part.left) for part in near_pairs(hashes, within))


def equal(hashes: Hashes, within: int) -> int:
    from petmood.data.copies import find_copies

    links = find_copies(
        np.full_like(hashes, 77),
        within=within,
        alike=lambda left, _: np.ones(len(left), bool),
        settled=lambda left, _: np.zeros(len(left), bool),
    )
    return sum(len(part.left) for part in links)


def brute(hashes: Hashes, within: int) -> int:
    height = 64
    total = 0
    for top in range(0, len(hashes), height):
        near = np.bitwise_count(hashes[top : top + height, None] ^ hashes[None, top:]) <= within
        total += int(near.sum()) - len(hashes[top : top + height])
        inside = near[:, : near.shape[0]]
        total -= (int(inside.sum()) - near.shape[0]) // 2  # pairs within the block were met twice
    return total


def faiss(hashes: Hashes, within: int) -> int:
    import faiss as library

    index = library.IndexBinaryFlat(64)
    index.add(hashes.view(np.uint8).reshape(-1, 8))
    limits, _, _ = index.range_search(hashes.view(np.uint8).reshape(-1, 8), within + 1)
    return int(limits[-1] - len(hashes)) // 2


CONTESTANTS = {"petmood": petmood, "equal": equal, "brute": brute, "faiss": faiss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", type=int, nargs="+", default=[100_000, 2_000_000])
    parser.add_argument("--within", type=int, default=6)
    parser.add_argument("--brute", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--one")
    arguments = parser.parse_args()
    if arguments.one:
        hashes = np.unique(made_up(arguments.hashes[0]))
        tell(*timed(CONTESTANTS[arguments.one], hashes, arguments.within))
        return
    print(machine())
    print("\n| hashes | within | contestant | pairs | seconds | peak MB |\n|---:|---:|---|---:|---:|---:|")
    for count in arguments.hashes:
        names = ["petmood", "equal", *(["brute"] if count <= arguments.brute else [])]
        if importlib.util.find_spec("faiss") and count <= arguments.brute:
            names.append("faiss")
        words = ["--hashes", str(count), "--within", str(arguments.within)]
        runs = in_turn(__file__, dict.fromkeys(names, words), repeats=arguments.repeats)
        for name, some in runs.items():
            seconds, memory = median_seconds(some), peak_mb(some)
            print(f"| {count:,} | {arguments.within} | {name} | {some[0].result:,} | {seconds:.1f} | {memory:,.0f} |")


if __name__ == "__main__":
    main()
