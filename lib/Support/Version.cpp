//===- Version.cpp ----------------------------------------------------------------------------------------------------===//
#include "flame/Support/Version.h"

const char *flame::version() { return FLAME_VERSION; }
