//===- PipelineArtifacts.h - compiled models of a pipeline folder, kept for the next time
//-------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_PIPELINEARTIFACTS_H
#define FLAME_TOOLS_FLAMEC_PIPELINEARTIFACTS_H

#include "Commands.h"

namespace flame::tool {

/// The folder of the cache for the artifacts of a pipeline folder. Its name is a hash of all that they depend on: what
/// the model files say of themselves (configurations, indices, headers of safetensors, not the weights, which stay
/// where they are), the options, what is compiled for, and the compiler. Throws InputError where there is no cache.
std::string cachedArtifacts(const std::string &folder, const CompileOptions &options);

/// Compiles what is missing in the folder of artifacts; processes that do so at the same time wait for each other.
/// Throws Exit after the compiler's messages, or InputError.
void compilePipeline(const std::string &folder, const CompileOptions &options, const std::string &artifacts,
                     Console &console);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_PIPELINEARTIFACTS_H
