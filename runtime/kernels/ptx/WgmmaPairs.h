//===- WgmmaPairs.h - two products of a warpgroup in one statement -------------------------------------------------===//
//
// The compiler's time goes by the registers of each statement: where there are many products, half of the statements. Apart from
// Wgmma.h, since reading these takes time, too.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Wgmma.h"

namespace flame {

/// d = x y + x2 y2, or that much more with `add`, of a multiple of 16 columns; see multiplyGroup of one product.
#define FLAME_WGMMA_PAIR(COLUMNS, R, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12)                                \
  template <Arithmetic type, bool xSide = false, bool ySide = false>                                                   \
  FLAME_DEVICE void multiplyGroup(float (&d)[R], unsigned long long x, unsigned long long y, unsigned long long x2,    \
                                  unsigned long long y2, bool add) {                                                   \
    asm volatile("{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %" #P4 ", 0;\n\t"                                           \
                 "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "%" #P5 " {" FLAME_R##R "}, %" #R ", %" #P1              \
                 ", add%" #P6 ";\n\twgmma.mma_async.sync.aligned.m64n" #COLUMNS "%" #P5 " {" FLAME_R##R "}, %" #P2     \
                 ", %" #P3 ", 1%" #P6 ";\n\t}"                                                                         \
                 : FLAME_O##R("+f")                                                                                    \
                 : "l"(x), "l"(y), "l"(x2), "l"(y2), "r"((int)add), "C"(WgmmaKind<type>::text),                        \
                   "C"(TailOf<type, xSide, ySide>::shared));                                                           \
  }                                                                                                                    \
  template <Arithmetic type, bool ySide = false>                                                                       \
  FLAME_DEVICE void multiplyGroup(float (&d)[R], const unsigned (&x)[4], unsigned long long y, const unsigned (&x2)[4],\
                                  unsigned long long y2, bool add) {                                                   \
    asm volatile("{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %" #P10 ", 0;\n\t"                                          \
                 "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "%" #P11 " {" FLAME_R##R "}, {%" #R ", %" #P1 ", %" #P2  \
                 ", %" #P3 "}, %" #P4 ", add%" #P12 ";\n\twgmma.mma_async.sync.aligned.m64n" #COLUMNS "%" #P11         \
                 " {" FLAME_R##R "}, {%" #P5 ", %" #P6 ", %" #P7 ", %" #P8 "}, %" #P9 ", 1%" #P12 ";\n\t}"             \
                 : FLAME_O##R("+f")                                                                                    \
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "l"(y), "r"(x2[0]), "r"(x2[1]), "r"(x2[2]), "r"(x2[3]), \
                   "l"(y2), "r"((int)add), "C"(WgmmaKind<type>::text), "C"(TailOf<type, false, ySide>::registers));    \
  }
FLAME_WGMMA_PAIR(16, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
FLAME_WGMMA_PAIR(32, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28)
FLAME_WGMMA_PAIR(48, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36)
FLAME_WGMMA_PAIR(64, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44)
FLAME_WGMMA_PAIR(80, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52)
FLAME_WGMMA_PAIR(96, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60)
FLAME_WGMMA_PAIR(112, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68)
FLAME_WGMMA_PAIR(128, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76)
FLAME_WGMMA_PAIR(144, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84)
FLAME_WGMMA_PAIR(160, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92)
FLAME_WGMMA_PAIR(176, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100)
FLAME_WGMMA_PAIR(192, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108)
FLAME_WGMMA_PAIR(208, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116)
FLAME_WGMMA_PAIR(224, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124)
FLAME_WGMMA_PAIR(240, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 131, 132)
FLAME_WGMMA_PAIR(256, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140)
#undef FLAME_WGMMA_PAIR

} // namespace flame
