# Installation: programs in bin/, libflame_rt, libflame_diffusion and libflame_compiler in lib/, their C headers (and the
# runtime's C++ wrapper) in include/, and the CMake package `flame` with the targets flame::runtime, flame::diffusion and
# flame::compiler.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(exported flame_rt flame_diffusion_shared)
set_target_properties(flame_rt PROPERTIES EXPORT_NAME runtime)
set_target_properties(flame_diffusion_shared PROPERTIES EXPORT_NAME diffusion)
install(FILES runtime/include/flame_rt.h runtime/include/flame_rt.hpp runtime/include/flame_diffusion.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

if(FLAME_COMPILER)
  list(APPEND exported flame_compiler)
  set_target_properties(flame_compiler PROPERTIES EXPORT_NAME compiler)
  install(DIRECTORY include/flame-c DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(TARGETS flamec flame-opt flame-lsp-server RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(TARGETS ${exported} EXPORT flameTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/flame)
install(EXPORT flameTargets NAMESPACE flame:: DESTINATION ${package})
configure_package_config_file(cmake/flame-config.cmake.in ${PROJECT_BINARY_DIR}/flame-config.cmake
  INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/flame-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/flame-config.cmake ${PROJECT_BINARY_DIR}/flame-config-version.cmake
  DESTINATION ${package})
