//===- Wgmma.h - products by warpgroups --------------------------------------------------------------------------===//
//
// wgmma multiplies 64 rows of x (shared memory, or registers) by N columns of y (shared memory) over 32 bytes of the
// inner dim and adds to sums in registers, N / 2 a thread. It runs on while the warpgroup goes on: sums may be touched only
// after waitProducts, and pinned then, so that the compiler moves nothing before it.
//
// Thread t of a warpgroup has, of columns 8 j + 2 (t % 4) and the next one, rows 16 (t / 32) + t % 32 / 4 in sums 4 j and
// 4 j + 1, and eight rows further down in sums 4 j + 2 and 4 j + 3. For sm_90a only.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include "schedule/Schedule.h"

namespace flame {

/// Before the first product, and wherever other instructions wrote sums or x in registers.
FLAME_DEVICE void fenceProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// The products since the last call become one group.
FLAME_DEVICE void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most `pending` groups are under way.
template <int pending> FLAME_DEVICE void waitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
/// The compiler takes the values as written here.
template <int count> FLAME_DEVICE void pin(float (&values)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i)
    asm volatile("" : "+f"(values[i])::"memory");
}
template <int count> FLAME_DEVICE void pin(int (&values)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i)
    asm volatile("" : "+r"(values[i])::"memory");
}

/// A matrix in shared memory for wgmma: lines of 128 bytes in the copy engine's 128-byte swizzle, eight of them in a
/// row. `farBytes`: from 64 elements of the side to the next 64, if lines run along the side. The address of what a product
/// starts with is in units of 16 bytes in the low bits: add to go further.
FLAME_DEVICE unsigned long long matrixAt(SharedAddress tile, int farBytes) {
  return 1ull << 62 | 1024ull / 16 << 32 | (unsigned long long)(farBytes / 16) << 16 | (tile & 0x3ffff) / 16;
}

/// What the instruction calls the arithmetic.
template <Arithmetic type> struct WgmmaKind;
#define FLAME_WGMMA_KIND(TYPE, KIND)                                                                                   \
  template <> struct WgmmaKind<Arithmetic::TYPE> { static constexpr char text[] = KIND; };
FLAME_WGMMA_KIND(BF16, "k16.f32.bf16.bf16")
FLAME_WGMMA_KIND(F16, "k16.f32.f16.f16")
FLAME_WGMMA_KIND(TF32, "k8.f32.tf32.tf32")
FLAME_WGMMA_KIND(E4M3, "k32.f32.e4m3.e4m3")
FLAME_WGMMA_KIND(E5M2, "k32.f32.e5m2.e5m2")
FLAME_WGMMA_KIND(I8, "k32.s32.s8.s8")
FLAME_WGMMA_KIND(U8, "k32.s32.u8.u8")
#undef FLAME_WGMMA_KIND
/// The constants at its end: signs, and for 16-bit elements which operands' lines run along the side. Operands of other
/// types always run along the inner dim.
template <bool isWide, bool isInteger, bool xSide, bool ySide> struct WgmmaTail;
#define FLAME_WGMMA_TAIL(WIDE, INTEGER, X, Y, SHARED, REGISTERS)                                                       \
  template <> struct WgmmaTail<WIDE, INTEGER, X, Y> {                                                                  \
    static constexpr char shared[] = SHARED, registers[] = REGISTERS;                                                  \
  };
FLAME_WGMMA_TAIL(true, false, false, false, ", 1, 1, 0, 0", ", 1, 1, 0")
FLAME_WGMMA_TAIL(true, false, false, true, ", 1, 1, 0, 1", ", 1, 1, 1")
FLAME_WGMMA_TAIL(true, false, true, false, ", 1, 1, 1, 0", "")
FLAME_WGMMA_TAIL(true, false, true, true, ", 1, 1, 1, 1", "")
FLAME_WGMMA_TAIL(false, false, false, false, ", 1, 1", ", 1, 1")
FLAME_WGMMA_TAIL(false, true, false, false, "", "")
#undef FLAME_WGMMA_TAIL
template <Arithmetic type, bool xSide, bool ySide>
using TailOf = WgmmaTail<sizeOf(type) == 2, type == Arithmetic::I8 || type == Arithmetic::U8, xSide, ySide>;

// The first 4, 8 … 128 registers of an instruction, and its operands.
#define FLAME_R4 "%0, %1, %2, %3"
#define FLAME_O4(C) C(d[0]), C(d[1]), C(d[2]), C(d[3])
#define FLAME_R8 FLAME_R4 ", %4, %5, %6, %7"
#define FLAME_O8(C) FLAME_O4(C), C(d[4]), C(d[5]), C(d[6]), C(d[7])
#define FLAME_R12 FLAME_R8 ", %8, %9, %10, %11"
#define FLAME_O12(C) FLAME_O8(C), C(d[8]), C(d[9]), C(d[10]), C(d[11])
#define FLAME_R16 FLAME_R12 ", %12, %13, %14, %15"
#define FLAME_O16(C) FLAME_O12(C), C(d[12]), C(d[13]), C(d[14]), C(d[15])
#define FLAME_R20 FLAME_R16 ", %16, %17, %18, %19"
#define FLAME_O20(C) FLAME_O16(C), C(d[16]), C(d[17]), C(d[18]), C(d[19])
#define FLAME_R24 FLAME_R20 ", %20, %21, %22, %23"
#define FLAME_O24(C) FLAME_O20(C), C(d[20]), C(d[21]), C(d[22]), C(d[23])
#define FLAME_R28 FLAME_R24 ", %24, %25, %26, %27"
#define FLAME_O28(C) FLAME_O24(C), C(d[24]), C(d[25]), C(d[26]), C(d[27])
#define FLAME_R32 FLAME_R28 ", %28, %29, %30, %31"
#define FLAME_O32(C) FLAME_O28(C), C(d[28]), C(d[29]), C(d[30]), C(d[31])
#define FLAME_R36 FLAME_R32 ", %32, %33, %34, %35"
#define FLAME_O36(C) FLAME_O32(C), C(d[32]), C(d[33]), C(d[34]), C(d[35])
#define FLAME_R40 FLAME_R36 ", %36, %37, %38, %39"
#define FLAME_O40(C) FLAME_O36(C), C(d[36]), C(d[37]), C(d[38]), C(d[39])
#define FLAME_R44 FLAME_R40 ", %40, %41, %42, %43"
#define FLAME_O44(C) FLAME_O40(C), C(d[40]), C(d[41]), C(d[42]), C(d[43])
#define FLAME_R48 FLAME_R44 ", %44, %45, %46, %47"
#define FLAME_O48(C) FLAME_O44(C), C(d[44]), C(d[45]), C(d[46]), C(d[47])
#define FLAME_R52 FLAME_R48 ", %48, %49, %50, %51"
#define FLAME_O52(C) FLAME_O48(C), C(d[48]), C(d[49]), C(d[50]), C(d[51])
#define FLAME_R56 FLAME_R52 ", %52, %53, %54, %55"
#define FLAME_O56(C) FLAME_O52(C), C(d[52]), C(d[53]), C(d[54]), C(d[55])
#define FLAME_R60 FLAME_R56 ", %56, %57, %58, %59"
#define FLAME_O60(C) FLAME_O56(C), C(d[56]), C(d[57]), C(d[58]), C(d[59])
#define FLAME_R64 FLAME_R60 ", %60, %61, %62, %63"
#define FLAME_O64(C) FLAME_O60(C), C(d[60]), C(d[61]), C(d[62]), C(d[63])
#define FLAME_R68 FLAME_R64 ", %64, %65, %66, %67"
#define FLAME_O68(C) FLAME_O64(C), C(d[64]), C(d[65]), C(d[66]), C(d[67])
#define FLAME_R72 FLAME_R68 ", %68, %69, %70, %71"
#define FLAME_O72(C) FLAME_O68(C), C(d[68]), C(d[69]), C(d[70]), C(d[71])
#define FLAME_R76 FLAME_R72 ", %72, %73, %74, %75"
#define FLAME_O76(C) FLAME_O72(C), C(d[72]), C(d[73]), C(d[74]), C(d[75])
#define FLAME_R80 FLAME_R76 ", %76, %77, %78, %79"
#define FLAME_O80(C) FLAME_O76(C), C(d[76]), C(d[77]), C(d[78]), C(d[79])
#define FLAME_R84 FLAME_R80 ", %80, %81, %82, %83"
#define FLAME_O84(C) FLAME_O80(C), C(d[80]), C(d[81]), C(d[82]), C(d[83])
#define FLAME_R88 FLAME_R84 ", %84, %85, %86, %87"
#define FLAME_O88(C) FLAME_O84(C), C(d[84]), C(d[85]), C(d[86]), C(d[87])
#define FLAME_R92 FLAME_R88 ", %88, %89, %90, %91"
#define FLAME_O92(C) FLAME_O88(C), C(d[88]), C(d[89]), C(d[90]), C(d[91])
#define FLAME_R96 FLAME_R92 ", %92, %93, %94, %95"
#define FLAME_O96(C) FLAME_O92(C), C(d[92]), C(d[93]), C(d[94]), C(d[95])
#define FLAME_R100 FLAME_R96 ", %96, %97, %98, %99"
#define FLAME_O100(C) FLAME_O96(C), C(d[96]), C(d[97]), C(d[98]), C(d[99])
#define FLAME_R104 FLAME_R100 ", %100, %101, %102, %103"
#define FLAME_O104(C) FLAME_O100(C), C(d[100]), C(d[101]), C(d[102]), C(d[103])
#define FLAME_R108 FLAME_R104 ", %104, %105, %106, %107"
#define FLAME_O108(C) FLAME_O104(C), C(d[104]), C(d[105]), C(d[106]), C(d[107])
#define FLAME_R112 FLAME_R108 ", %108, %109, %110, %111"
#define FLAME_O112(C) FLAME_O108(C), C(d[108]), C(d[109]), C(d[110]), C(d[111])
#define FLAME_R116 FLAME_R112 ", %112, %113, %114, %115"
#define FLAME_O116(C) FLAME_O112(C), C(d[112]), C(d[113]), C(d[114]), C(d[115])
#define FLAME_R120 FLAME_R116 ", %116, %117, %118, %119"
#define FLAME_O120(C) FLAME_O116(C), C(d[116]), C(d[117]), C(d[118]), C(d[119])
#define FLAME_R124 FLAME_R120 ", %120, %121, %122, %123"
#define FLAME_O124(C) FLAME_O120(C), C(d[120]), C(d[121]), C(d[122]), C(d[123])
#define FLAME_R128 FLAME_R124 ", %124, %125, %126, %127"
#define FLAME_O128(C) FLAME_O124(C), C(d[124]), C(d[125]), C(d[126]), C(d[127])

/// d = x y, or d += x y with `add`. Both operands are matrices in shared memory (see matrixAt); R registers hold the sums of
/// COLUMNS = 2 R columns. Operands P1 … P4 follow them.
#define FLAME_WGMMA(SUM, CONSTRAINT, COLUMNS, R, P1, P2, P3, P4)                                                       \
  template <Arithmetic type, bool xSide = false, bool ySide = false>                                                   \
  FLAME_DEVICE void multiplyGroup(SUM(&d)[R], unsigned long long x, unsigned long long y, bool add) {                  \
    asm volatile("{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %" #P2 ", 0;\n\t"                                           \
                 "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "%" #P3 " {" FLAME_R##R "}, %" #R ", %" #P1              \
                 ", add%" #P4 ";\n\t}"                                                                                 \
                 : FLAME_O##R(CONSTRAINT)                                                                              \
                 : "l"(x), "l"(y), "r"((int)add), "C"(WgmmaKind<type>::text), "C"(TailOf<type, xSide, ySide>::shared)); \
  }
/// The same with 16 rows of x by 32 bytes of the inner dim in registers of each warp, as the sums of a product lie.
#define FLAME_WGMMA_REGISTERS(SUM, CONSTRAINT, COLUMNS, R, P1, P2, P3, P4, P5, P6, P7)                                 \
  template <Arithmetic type, bool ySide = false>                                                                       \
  FLAME_DEVICE void multiplyGroup(SUM(&d)[R], const unsigned (&x)[4], unsigned long long y, bool add) {                \
    asm volatile("{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %" #P5 ", 0;\n\t"                                           \
                 "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "%" #P6 " {" FLAME_R##R "}, {%" #R ", %" #P1 ", %" #P2   \
                 ", %" #P3 "}, %" #P4 ", add%" #P7 ";\n\t}"                                                            \
                 : FLAME_O##R(CONSTRAINT)                                                                              \
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "l"(y), "r"((int)add), "C"(WgmmaKind<type>::text),      \
                   "C"(TailOf<type, false, ySide>::registers));                                                        \
  }
#define FLAME_WGMMA_ALL(COLUMNS, R, P1, P2, P3, P4, P5, P6, P7)                                                        \
  FLAME_WGMMA(float, "+f", COLUMNS, R, P1, P2, P3, P4)                                                                 \
  FLAME_WGMMA(int, "+r", COLUMNS, R, P1, P2, P3, P4)                                                                   \
  FLAME_WGMMA_REGISTERS(float, "+f", COLUMNS, R, P1, P2, P3, P4, P5, P6, P7)
FLAME_WGMMA_ALL(8, 4, 5, 6, 7, 8, 9, 10, 11)
FLAME_WGMMA_ALL(16, 8, 9, 10, 11, 12, 13, 14, 15)
FLAME_WGMMA_ALL(24, 12, 13, 14, 15, 16, 17, 18, 19)
FLAME_WGMMA_ALL(32, 16, 17, 18, 19, 20, 21, 22, 23)
FLAME_WGMMA_ALL(40, 20, 21, 22, 23, 24, 25, 26, 27)
FLAME_WGMMA_ALL(48, 24, 25, 26, 27, 28, 29, 30, 31)
FLAME_WGMMA_ALL(56, 28, 29, 30, 31, 32, 33, 34, 35)
FLAME_WGMMA_ALL(64, 32, 33, 34, 35, 36, 37, 38, 39)
FLAME_WGMMA_ALL(72, 36, 37, 38, 39, 40, 41, 42, 43)
FLAME_WGMMA_ALL(80, 40, 41, 42, 43, 44, 45, 46, 47)
FLAME_WGMMA_ALL(88, 44, 45, 46, 47, 48, 49, 50, 51)
FLAME_WGMMA_ALL(96, 48, 49, 50, 51, 52, 53, 54, 55)
FLAME_WGMMA_ALL(104, 52, 53, 54, 55, 56, 57, 58, 59)
FLAME_WGMMA_ALL(112, 56, 57, 58, 59, 60, 61, 62, 63)
FLAME_WGMMA_ALL(120, 60, 61, 62, 63, 64, 65, 66, 67)
FLAME_WGMMA_ALL(128, 64, 65, 66, 67, 68, 69, 70, 71)
FLAME_WGMMA_ALL(136, 68, 69, 70, 71, 72, 73, 74, 75)
FLAME_WGMMA_ALL(144, 72, 73, 74, 75, 76, 77, 78, 79)
FLAME_WGMMA_ALL(152, 76, 77, 78, 79, 80, 81, 82, 83)
FLAME_WGMMA_ALL(160, 80, 81, 82, 83, 84, 85, 86, 87)
FLAME_WGMMA_ALL(168, 84, 85, 86, 87, 88, 89, 90, 91)
FLAME_WGMMA_ALL(176, 88, 89, 90, 91, 92, 93, 94, 95)
FLAME_WGMMA_ALL(184, 92, 93, 94, 95, 96, 97, 98, 99)
FLAME_WGMMA_ALL(192, 96, 97, 98, 99, 100, 101, 102, 103)
FLAME_WGMMA_ALL(200, 100, 101, 102, 103, 104, 105, 106, 107)
FLAME_WGMMA_ALL(208, 104, 105, 106, 107, 108, 109, 110, 111)
FLAME_WGMMA_ALL(216, 108, 109, 110, 111, 112, 113, 114, 115)
FLAME_WGMMA_ALL(224, 112, 113, 114, 115, 116, 117, 118, 119)
FLAME_WGMMA_ALL(232, 116, 117, 118, 119, 120, 121, 122, 123)
FLAME_WGMMA_ALL(240, 120, 121, 122, 123, 124, 125, 126, 127)
FLAME_WGMMA_ALL(248, 124, 125, 126, 127, 128, 129, 130, 131)
FLAME_WGMMA_ALL(256, 128, 129, 130, 131, 132, 133, 134, 135)
#undef FLAME_WGMMA_ALL
#undef FLAME_WGMMA_REGISTERS
#undef FLAME_WGMMA

} // namespace flame
