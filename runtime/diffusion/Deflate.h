//===- Deflate.h - deflate by runs and Huffman codes ------------------------===//
#ifndef FLAME_DIFFUSION_DEFLATE_H
#define FLAME_DIFFUSION_DEFLATE_H

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace flame::diffusion {

/// A part of a deflate stream (RFC 1951) that ends at a byte, so that parts made by themselves can be joined; the last
/// part ends the stream. It refers to nothing outside of `data`.
std::vector<uint8_t> deflated(std::span<const uint8_t> data, bool isLast);

} // namespace flame::diffusion

#endif
