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

# Debian's static MLIR targets name the shared LLVM; for a static link each is pointed at LLVM's component libraries.
function(flame_make_mlir_static)
  llvm_map_components_to_libnames(components core support analysis passes target x86codegen x86asmparser x86desc x86info
                                  targetparser irreader bitwriter bitreader linker mc option lto debuginfodwarf
                                  frontendopenmp frontendoffloading orcjit executionengine runtimedyld perfjitevents)
  foreach(target ${MLIR_EXPORTED_TARGETS})
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

# flame_link_mlir(target components...): the shared MLIR, or these static MLIR libraries.
function(flame_link_mlir target)
  if(FLAME_PORTABLE)
    target_link_libraries(${target} PUBLIC flame_mlir ${ARGN})
  else()
    target_link_libraries(${target} PUBLIC flame_mlir MLIR LLVM)
  endif()
endfunction()

if(FLAME_PORTABLE)
  flame_make_mlir_static()
endif()

# mlir-tblgen takes its include path from the directory property.
include_directories(SYSTEM ${MLIR_INCLUDE_DIRS})
