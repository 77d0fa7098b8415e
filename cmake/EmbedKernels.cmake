# Writes OUTPUT: the files of FOLDER as C++ string literals, sorted by name, so that equal sources give equal output.
#   cmake -DFOLDER=… -DOUTPUT=… -P EmbedKernels.cmake
file(GLOB_RECURSE files RELATIVE ${FOLDER} ${FOLDER}/*.h)
list(SORT files)
set(text "// Made by cmake/EmbedKernels.cmake of the files in runtime/kernels.\n")
foreach(name IN LISTS files)
  file(READ ${FOLDER}/${name} content)
  string(APPEND text "{\"${name}\", R\"flame(${content})flame\"},\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
