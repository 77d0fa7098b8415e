//===- FolderView.h - flamec inspect of a folder of diffusers or transformers
//------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_FOLDERVIEW_H
#define FLAME_TOOLS_FLAMEC_FOLDERVIEW_H

#include "Model.h"

namespace flame::tool {

/// Prints what a pipeline or model folder holds; every model's graph is built, so that wrong weights come out. Returns
/// the exit code.
int inspectFolder(const ModelSettings &settings, const std::string &format, Console &console);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_FOLDERVIEW_H
