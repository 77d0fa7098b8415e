//===- ImageHandle.h - the C interface's picture ---------------------------===//
#ifndef FLAME_DIFFUSION_CAPI_IMAGEHANDLE_H
#define FLAME_DIFFUSION_CAPI_IMAGEHANDLE_H

#include "Png.h"

struct flame_image {
  size_t width = 0, height = 0;
  std::vector<uint8_t> pixels;
  std::vector<flame::diffusion::PngText> texts; // of the pipeline
  std::vector<uint8_t> png;                     // made last
};

#endif
