//===- Upload.h - weights into the GPU's memory ----------------------------===//
#ifndef FLAME_RUNTIME_CUDA_UPLOAD_H
#define FLAME_RUNTIME_CUDA_UPLOAD_H

#include "Device.h"

namespace flame::rt::cuda {

/// Bytes of CPU memory, often of a mapped file that is not in memory yet, and their place in the image on the device.
struct Piece {
  const void *from;
  uint64_t offset;
  size_t bytes;
};

/// Copies the pieces, in ascending order of offsets, into the image at `to`; waits for the end. What lies between pieces
/// stays undefined. The data pass through pinned buffers, two for each of up to `threads` threads: one is filled, which
/// reads the file, while the other is on its way.
void upload(const Ref<Stream> &stream, void *to, const std::vector<Piece> &pieces, int threads);

} // namespace flame::rt::cuda

#endif
