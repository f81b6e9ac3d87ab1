"""A frontier: about the best (key, id) pairs seen, in no order.

A sorted pool (see ``pool``) moves its members for each that comes, and of the estimates
of a quantized graph five come a step: that was 40 % of a search whose data are in the
cache. Here whoever is good enough is put at the end, 16 at a time and without a branch;
the best that is open is looked for when it is needed; and when there is no more room,
all but about the best are dropped. On 115,647 x 384 that and newer estimates took 6 %
off a search at recall@10 0.93, 11 % at 0.99.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ann.kernels import simd
from ann.kernels._jit import SIMD_LEVEL, kernel
from ann.kernels.emit import (
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    Lanes,
    broadcast,
    call,
    first_lanes,
    loop,
    pointer,
    splat,
)
from ann.kernels.pool import EXPANDED, ID_MASK, INFINITY, NO_ID
from ann.kernels.tricks import on

# Who is met again gets the newer estimate, which is told from nearer by. At equal
# numbers of steps that took recall@10 from 0.951 to 0.954 (115,647 x 384, ef 24).
NEWER = on("newer-estimates")
_EMPTY = np.uint32(0xFFFFFFFF)
_FEWEST, _MOST = 512, 8192  # places in ``met``
_ROUNDS = 12


class Frontier(NamedTuple):
    """Arrays of members, of which a search knows how many there are."""

    keys: np.ndarray  #: (room(capacity),) float32
    ids: np.ndarray  #: (room(capacity),) int32; the sign bit marks the expanded
    #: (>= places(capacity),) uint32, where a member is: an id's last bits tell the
    #: place in here, where its first stand above the position. Of two members with the
    #: same last bits the later is known, and the other may get in once more. (A byte
    #: for each node would be in no cache: to look at it took 14 % of a search of
    #: 1,000,000 x 128.)
    met: np.ndarray
    last: int  #: of the places in use: a mask of the last bits
    skipped: int  #: how many bits these are
    shift: int  #: how many bits a position has


@kernel
def limit(capacity):
    """Return how many members there may be before all but ``capacity`` are dropped."""
    return capacity + capacity // 8 + 32


@kernel
def room(capacity):
    """Return how long the arrays of members are."""
    return limit(capacity) + 32


@kernel
def places(capacity):
    """Return how many places ``met`` has, a power of two."""
    count = _FEWEST
    while count < 32 * capacity and count < _MOST:
        count *= 2
    return count


@kernel
def begin_frontier(keys, ids, met, capacity):
    """Return a frontier without members; ``met`` is overwritten."""
    count, skipped, shift = places(capacity), np.int64(0), np.int64(0)
    while count >> skipped > 1:
        skipped += 1
    while room(capacity) >> shift > 0:
        shift += 1
    for j in range(count):
        met[j] = _EMPTY
    return Frontier(keys, ids, met, count - 1, skipped, shift)


# --- who comes ------------------------------------------------------------------------


@kernel
def put(frontier, size, bits, news, links, first):
    """Put in those of ``links[first:first+16]`` whose bits are set; return the size.

    ``news`` (16,) float32 are their keys. There must be room for 16.
    """
    f = frontier
    return _put(
        bits, news, links, first, f.met, f.last, f.skipped, f.shift, f.keys, f.ids, size
    )


@intrinsic
def _put_at_once(
    typingctx, bits, news, links, first, met, last, skipped, shift, keys, ids, size
):
    def generate(context, builder, signature, args):
        lanes, floats = ir.VectorType(I32, 16), ir.VectorType(F32, 16)
        nothing = ir.Constant(lanes, None)

        def at(which, offset, kind):
            array = signature.args[which], args[which]
            where = pointer(context, builder, *array, offset)
            return builder.bitcast(where, kind.as_pointer())

        def scatter(which, index, value, mask):
            to, value = at(which, I64(0), I8), builder.bitcast(value, lanes)
            name = "llvm.x86.avx512.mask.scatter.dpi.512"
            call(builder, name, ir.VoidType(), [to, mask, index, value, I32(4)])

        def packed(value, name):
            nothing = ir.Constant(value.type, None)
            name = f"llvm.x86.avx512.mask.{name}"
            return call(builder, name, value.type, [value, nothing, new])

        asked = builder.bitcast(builder.trunc(args[0], I16), ir.VectorType(I1, 16))
        last, skipped, shift, size = (
            broadcast(builder, builder.trunc(args[p], I32), 16) for p in (5, 6, 7, 10)
        )
        news = builder.load(at(1, I64(0), floats), align=4)
        those = builder.load(at(2, args[3], lanes), align=4)
        those = builder.and_(those, splat(I32, 16, int(ID_MASK)))
        slots, names = builder.and_(those, last), builder.lshr(those, skipped)
        entries = call(
            builder, "llvm.x86.avx512.mask.gather.dpi.512", lanes,
            [nothing, at(4, I64(0), I8), slots, asked, I32(4)],
        )  # fmt: skip
        same = builder.icmp_signed("==", builder.lshr(entries, shift), names)
        names = builder.shl(names, shift)
        if NEWER:
            inside = builder.and_(asked, same)
            scatter(8, builder.sub(entries, names), news, inside)
        new = builder.and_(asked, builder.not_(same))
        ranks = packed(ir.Constant(lanes, list(range(16))), "expand.v16i32")
        scatter(4, slots, builder.or_(names, builder.add(size, ranks)), new)
        for which, value in ((8, packed(news, "compress.v16f32")),
                             (9, packed(those, "compress.v16i32"))):  # fmt: skip
            builder.store(value, at(which, args[10], value.type), align=4)
        count = call(builder, "llvm.ctpop.i16", I16, [builder.bitcast(new, I16)])
        return builder.add(args[10], builder.zext(count, I64))

    i64 = types.int64
    table = met, i64, i64, i64, keys, ids, i64
    return i64(types.uint32, news, links, i64, *table), generate


@kernel
def _put_one_by_one(
    bits, news, links, first, met, last, skipped, shift, keys, ids, size
):
    new, rest = np.uint32(0), bits
    while rest != 0:
        lane = simd.trailing_zeros(rest)
        rest &= rest - np.uint32(1)
        other = simd.at(links, first + lane) & ID_MASK
        entry, name = np.int64(met[other & last]), other >> skipped
        if entry >> shift != name:
            new |= np.uint32(1) << np.uint32(lane)
        elif NEWER:
            keys[entry - (name << shift)] = news[lane]
    while new != 0:
        lane = simd.trailing_zeros(new)
        new &= new - np.uint32(1)
        other = simd.at(links, first + lane) & ID_MASK
        keys[size], ids[size] = news[lane], other
        met[other & last] = np.uint32(other >> skipped << shift | size)
        size += 1
    return size


def putting(level: str) -> Any:
    """Return ``put`` of a vector level, by fields; all levels leave the same members.

    What is in the arrays behind the members is not part of the result.
    """
    return _put_at_once if level == "avx512" else _put_one_by_one


_put = putting(SIMD_LEVEL)


# --- who is next ----------------------------------------------------------------------


@kernel
def take_best(frontier, size):
    """Expand the best that is open; return it and its key, or NO_ID and infinity."""
    at = _best_open(frontier.keys, frontier.ids, size)
    if at < 0:
        return NO_ID, INFINITY
    node = frontier.ids[at]
    frontier.ids[at] = node | EXPANDED
    return node, frontier.keys[at]


@intrinsic
def _best_open(typingctx, keys, ids, size):
    """Return where the least key is whose id is not negative, the first such, or −1."""

    def generate(context, builder, signature, args):
        v, lanes = Lanes(builder, 16), ir.VectorType(I32, 16)
        nobody = splat(I32, 16, 2**31 - 1)
        iota, zeros = ir.Constant(lanes, list(range(16))), ir.Constant(lanes, None)
        keys, ids = (
            pointer(context, builder, signature.args[p], args[p], I64(0))
            for p in (0, 1)
        )

        def look(t, best):
            least, where = best
            rest = builder.sub(args[2], t)
            some = builder.icmp_signed("<", rest, I64(16))
            mask = first_lanes(builder, builder.select(some, rest, I64(16)))
            names = builder.bitcast(builder.gep(ids, [t]), lanes.as_pointer())
            names = builder.load(names, align=4)
            mask = builder.and_(mask, builder.icmp_signed(">=", names, zeros))
            key = v.load(keys, t)
            less = builder.and_(mask, builder.fcmp_ordered("<", key, least))
            at = builder.add(broadcast(builder, builder.trunc(t, I32), 16), iota)
            return [
                builder.select(less, key, least),
                builder.select(less, at, where),
            ]

        stop = builder.and_(builder.add(args[2], I64(15)), I64(-16))
        start = [splat(F32, 16, float("inf")), nobody]
        least, where = loop(builder, I64(0), stop, 16, start, look)
        best = call(
            builder, "llvm.vector.reduce.fmin.v16f32", F32, [least], fastmath=("nnan",)
        )
        ties = builder.fcmp_ordered("==", least, broadcast(builder, best, 16))
        where = builder.select(ties, where, nobody)
        first = call(builder, "llvm.vector.reduce.smin.v16i32", I32, [where])
        none = builder.icmp_signed("==", first, I32(2**31 - 1))
        return builder.select(none, I64(-1), builder.zext(first, I64))

    return types.int64(keys, ids, types.int64), generate


@kernel
def key_of(frontier, i, key):
    """Return the key that member ``i`` has now; ``key`` where ``met`` has lost it.

    A member that is compared with others by the key that it had when it was taken may
    be counted among those better than itself, for it may have got a newer key since.
    """
    f = frontier
    entry, name = np.int64(f.met[i & f.last]), np.int64(i >> f.skipped)
    return f.keys[entry - (name << f.shift)] if entry >> f.shift == name else key


@kernel
def beyond(frontier, size, capacity, key):
    """Whether at least ``capacity`` members are better than a key."""
    return (
        size >= capacity and simd.count_below(frontier.keys, 0, size, key) >= capacity
    )


# --- who is dropped -------------------------------------------------------------------


@kernel
def narrow(frontier, size, capacity, most):
    """Drop all but the best: at least ``capacity``, and at most ``most``.

    Returns
    -------
    size : int                  members left, in the order that they had
    worst : float32             ``capacity`` of them are below this, or it is infinity
    """
    keys, ids, met = frontier.keys, frontier.ids, frontier.met
    low, high, below = _cut(keys, size, capacity, most)
    ties, kept = most - below, np.int64(0)  # how many of [low, high) may stay
    for j in range(size):
        key, name = keys[j], ids[j] & ID_MASK
        between = np.int64(low <= key) & np.int64(key < high)
        keep = np.int64(key < low) | (between & np.int64(ties > 0))
        ties -= between
        keys[kept], ids[kept] = key, ids[j]
        slot, own = name & frontier.last, name >> frontier.skipped << frontier.shift
        after = np.uint32(own | kept) if keep else _EMPTY
        met[slot] = after if met[slot] == np.uint32(own | j) else met[slot]
        kept += keep
    return kept, high


@kernel
def _cut(keys, size, capacity, most):
    """Return low, high and how many are below ``low``.

    Fewer than ``capacity`` are, and at least so many are below ``high``, or it is
    infinity. At most ``most`` are, unless equal keys are in the way; then what lies
    between the two is as good as equal.
    """
    low, middle = simd.ends(keys, 0, size)
    high, below, under = INFINITY, np.int64(0), size
    for t in range(_ROUNDS):
        count = simd.count_below(keys, 0, size, middle)
        if count >= capacity:
            high, under = middle, count
        else:
            low, below = middle, count
        if under <= most:
            return high, high, under
        part = np.float32(0.5)
        if t % 2 == 0:  # as if keys were spread evenly
            part = np.float32((capacity + most) // 2 - below) / np.float32(
                under - below
            )
        middle = low + (high - low) * part
        if not low < middle < high:
            break
    return low, high, below


@kernel
def sort_members(frontier, size):
    """Put the best first, for those who look at what is inside."""
    keys, ids = frontier.keys, frontier.ids
    for j in range(1, size):
        key, name, at = keys[j], ids[j], j
        while at > 0 and (
            keys[at - 1] > key
            or (keys[at - 1] == key and ids[at - 1] & ID_MASK > name & ID_MASK)
        ):
            keys[at], ids[at] = keys[at - 1], ids[at - 1]
            at -= 1
        keys[at], ids[at] = key, name
