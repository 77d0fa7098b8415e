# MLIR and LLVM: shared libraries by default (fast links), static ones for the portable build.
find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
set(FLAME_LLVM_BIN ${LLVM_TOOLS_BINARY_DIR})

# Compile settings of everything that includes MLIR's headers.
add_library(flame_mlir INTERFACE)
target_include_directories(flame_mlir SYSTEM INTERFACE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
target_compile_definitions(flame_mlir INTERFACE ${LLVM_DEFINITIONS_LIST} _GNU_SOURCE)

# Debian's static MLIR and LLD targets name the shared LLVM; for a static link each is pointed at LLVM's component libraries.
function(flame_make_static)
  llvm_map_components_to_libnames(components core support analysis passes target x86codegen x86asmparser x86desc x86info
                                  targetparser irreader bitwriter bitreader linker mc option lto dtlto debuginfodwarf
                                  frontendopenmp frontendoffloading orcjit executionengine runtimedyld perfjitevents)
  foreach(target ${ARGN})
    if(TARGET ${target})
      get_target_property(libraries ${target} INTERFACE_LINK_LIBRARIES)
      if(libraries)
        list(REMOVE_ITEM libraries LLVM "$<LINK_ONLY:LLVM>")
        list(APPEND libraries ${components})
        set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${libraries}")
      endif()
    endif()
  endforeach()
endfunction()

# flame_only_native_targets(target): LLD starts every target that LLVM was built with; a static program has this machine's alone.
function(flame_only_native_targets target)
  set(text "// Generated: entry points of the targets that are not linked in.\n")
  foreach(name ${LLVM_TARGETS_TO_BUILD})
    if(NOT name STREQUAL LLVM_NATIVE_ARCH)
      foreach(kind TargetInfo Target TargetMC AsmPrinter AsmParser)
        string(APPEND text "void LLVMInitialize${name}${kind}(void) {}\n")
      endforeach()
    endif()
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/OtherTargets.c CONTENT "${text}")
  target_sources(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/OtherTargets.c)
  set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/OtherTargets.c PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
endfunction()

# flame_link_mlir(target components...): the shared MLIR, or these static MLIR libraries.
function(flame_link_mlir target)
  if(FLAME_PORTABLE)
    target_link_libraries(${target} PUBLIC flame_mlir ${ARGN})
  else()
    target_link_libraries(${target} PUBLIC flame_mlir MLIR LLVM)
  endif()
endfunction()

set(FLAME_ZSTD zstd)
if(FLAME_PORTABLE)
  flame_make_static(${MLIR_EXPORTED_TARGETS})
  # Of the rest only libc stays shared. Z3, which LLVM may have been built with, drops out since nothing calls it.
  add_link_options(-static-libstdc++ -static-libgcc -Wl,--as-needed -Wl,--gc-sections -Wl,-s
                   -fuse-ld=lld -B${LLVM_TOOLS_BINARY_DIR})
  set(Protobuf_USE_STATIC_LIBS ON)
  find_library(FLAME_STATIC_zstd libzstd.a REQUIRED)
  set(FLAME_ZSTD ${FLAME_STATIC_zstd})
  foreach(pair ZLIB::ZLIB=z zstd::libzstd_shared=zstd)
    string(REPLACE "=" ";" pair ${pair})
    list(GET pair 0 target)
    list(GET pair 1 name)
    if(TARGET ${target})
      find_library(FLAME_STATIC_${name} lib${name}.a REQUIRED)
      set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${FLAME_STATIC_${name}} IMPORTED_LOCATION_RELEASE ${FLAME_STATIC_${name}})
    endif()
  endforeach()
endif()

# mlir-tblgen takes its include path from the directory property.
include_directories(SYSTEM ${MLIR_INCLUDE_DIRS})
