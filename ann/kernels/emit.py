"""Writing LLVM IR from Numba: the few words that every vector primitive is made of."""

from llvmlite import binding, ir

from ann.kernels.tricks import on

F32 = ir.FloatType()
I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))


def splat(kind, lanes, value):
    """Return a constant vector of equal elements."""
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def call(builder, name, result, args, fastmath=()):
    """Call an LLVM intrinsic by its full name, declared once per module.

    llvmlite's ``declare_intrinsic`` knows no vector types.
    """
    function = builder.module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(result, [a.type for a in args])
        function = ir.Function(builder.module, signature, name)
    return builder.call(function, args, fastmath=fastmath)


def pointer(context, builder, array_type, array, offset):
    """Return the address of ``array.flat[offset]``."""
    return builder.gep(
        context.make_array(array_type)(context, builder, array).data, [offset]
    )


def loop(builder, start, stop, step, carried, body):
    """``for i in range(start, stop, step): carried = body(i, carried)``, 0 times too.

    ``stop - start`` must be a multiple of ``step``.
    """
    entry, function = builder.block, builder.function
    head, inside, after = (
        function.append_basic_block(s) for s in ("head", "body", "after")
    )
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(I64)
    i.add_incoming(start, entry)
    phis = [builder.phi(value.type) for value in carried]
    for phi, value in zip(phis, carried, strict=True):
        phi.add_incoming(value, entry)
    builder.cbranch(builder.icmp_signed("<", i, stop), inside, after)
    builder.position_at_end(inside)
    out = body(i, phis)
    i.add_incoming(builder.add(i, I64(step)), builder.block)
    for phi, value in zip(phis, out, strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return phis


def broadcast(builder, value, lanes):
    """Return a vector with ``value`` in every lane."""
    wide = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(wide, ir.Undefined), value, I32(0))
    return builder.shuffle_vector(one, one, splat(I32, lanes, 0))


def prefetch_line(builder, where):
    """Ask for the cache line at an address, into L2, unless that trick is off."""
    if not on("prefetch"):
        return
    where = builder.bitcast(where, I8.as_pointer())
    hint = [I32(0), I32(2), I32(1)]  # to read; into L2; data
    call(builder, "llvm.prefetch.p0", ir.VoidType(), [where, *hint])


def first_lanes(builder, count):
    """Return a mask of the first ``count`` of 16 lanes, 0 to 16."""
    bits = builder.sub(builder.shl(I64(1), count), I64(1))
    return builder.bitcast(builder.trunc(bits, I16), ir.VectorType(I1, 16))


def move_masked(builder, source, target, mask):
    """Copy the elements in a mask from one address to another."""
    element, lanes = source.type.pointee, mask.type.count
    wide = ir.VectorType(element, lanes)
    kind = {ir.FloatType(): "f32", I32: "i32", I64: "i64"}[element]
    where, to = (builder.bitcast(p, wide.as_pointer()) for p in (source, target))
    align, nothing = I32(4), ir.Constant(wide, None)
    name = f"v{lanes}{kind}.p0"
    load = f"llvm.masked.load.{name}"
    values = call(builder, load, wide, [where, align, mask, nothing])
    store = f"llvm.masked.store.{name}"
    call(builder, store, ir.VoidType(), [values, to, align, mask])


def multiply_add_bytes(builder, total, u, v):
    """Add to each 32-bit sum the products of four unsigned and four signed bytes.

    ``vpdpbusd`` of AVX-512 VNNI, for sums of 16, 32 or 64 bytes.
    """
    if binding.llvm_version_info[0] < 22:  # bytes were declared as 32-bit lanes
        u, v = (builder.bitcast(part, total.type) for part in (u, v))
    name = f"llvm.x86.avx512.vpdpbusd.{32 * total.type.count}"
    return call(builder, name, total.type, [total, u, v])


def multiply_add_words(builder, total, u, v):
    """``multiply_add_bytes`` for 64 bytes, on any processor.

    16 bits hold the products of an unsigned and a signed byte.
    """
    words = ir.VectorType(I16, 64)
    products = builder.mul(builder.zext(u, words), builder.sext(v, words))
    for part in range(4):
        pick = ir.Constant(ir.VectorType(I32, 16), list(range(part, 64, 4)))
        quarter = builder.shuffle_vector(products, products, pick)
        total = builder.add(total, builder.sext(quarter, total.type))
    return total


class Lanes:
    """Operations on float32 vectors of ``lanes`` elements."""

    def __init__(self, builder, lanes):
        self.builder, self.lanes = builder, lanes
        self.vector = ir.VectorType(F32, lanes)

    def load(self, pointer, index, mask=None):
        """Elements ``pointer[index:index+lanes]``; lanes outside the mask read 0."""
        b, wide = self.builder, self.vector
        where = b.bitcast(b.gep(pointer, [index]), wide.as_pointer())
        if mask is None:
            return b.load(where, align=4)
        name = f"llvm.masked.load.v{self.lanes}f32.p0"
        return call(b, name, wide, [where, I32(4), mask, ir.Constant(wide, None)])

    def load_half(self, pointer, index, mask=None):
        """``load`` of float16, whose bits are in an array of uint16, as these bits."""
        b, wide = self.builder, ir.VectorType(I16, self.lanes)
        where = b.bitcast(b.gep(pointer, [index]), wide.as_pointer())
        if mask is None:
            return b.load(where, align=2)
        name = f"llvm.masked.load.v{self.lanes}i16.p0"
        return call(b, name, wide, [where, I32(2), mask, ir.Constant(wide, None)])

    def widen(self, bits):
        """Return the float32 that float16, given as bits, are."""
        halves = ir.VectorType(ir.HalfType(), self.lanes)
        return self.builder.fpext(self.builder.bitcast(bits, halves), self.vector)

    def widen_by_bits(self, bits):
        """``widen`` of what is finite, where there may be no instruction for it.

        The bits are moved to where float32 has its exponent and fraction, and scaled by
        what the exponents' biases differ.
        """
        b, whole = self.builder, ir.VectorType(I32, self.lanes)
        bits = b.zext(bits, whole)
        size, sign = (
            b.shl(
                b.and_(bits, splat(I32, self.lanes, some)), splat(I32, self.lanes, by)
            )
            for some, by in ((0x7FFF, 13), (0x8000, 16))
        )
        bias = splat(F32, self.lanes, 2.0**112)
        size = b.fmul(b.bitcast(size, self.vector), bias)
        return b.bitcast(b.or_(b.bitcast(size, whole), sign), self.vector)

    def mask(self, count):
        """Lanes below ``count``, which must fit into 32 bits."""
        b = self.builder
        iota = ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))
        return b.icmp_signed("<", iota, broadcast(b, b.trunc(count, I32), self.lanes))

    def fma(self, a, b, c):
        """Return ``a * b + c``, rounded once where the processor can, which is usual.

        ``llvm.fma`` would call a function for each element where it cannot.
        """
        name = f"llvm.fmuladd.v{self.lanes}f32"
        return call(self.builder, name, self.vector, [a, b, c])

    def add_square(self, t, acc):
        """Return ``acc + t²``."""
        return self.fma(t, t, acc)

    def add_abs(self, t, acc):
        """Return ``acc + |t|``."""
        size = call(self.builder, f"llvm.fabs.v{self.lanes}f32", self.vector, [t])
        return self.builder.fadd(acc, size)

    def sum(self, a):
        """Return the sum of all lanes: of halves, of their halves, and so on.

        ``llvm.vector.reduce.fadd`` would leave the order to the processor's code.
        """
        b, count = self.builder, self.lanes
        while count > 1:
            count //= 2
            low, high = (
                ir.Constant(ir.VectorType(I32, count), list(range(at, at + count)))
                for at in (0, count)
            )
            a = b.fadd(b.shuffle_vector(a, a, low), b.shuffle_vector(a, a, high))
        return b.extract_element(a, I32(0))
