# find_package(shmtelemetry) and target_link_libraries(… shmtelemetry::shmtelemetry): the headers for C and C++.
# cmake -Dshmtelemetry_DIR="$(python -m shmtelemetry --cmakedir)"
include(CMakeFindDependencyMacro)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_dependency(Threads)

if(NOT TARGET shmtelemetry::shmtelemetry)
  add_library(shmtelemetry::shmtelemetry INTERFACE IMPORTED)
  get_filename_component(_shmtelemetry_include "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
  set_target_properties(shmtelemetry::shmtelemetry PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_shmtelemetry_include}"
    INTERFACE_COMPILE_DEFINITIONS _GNU_SOURCE
    INTERFACE_LINK_LIBRARIES Threads::Threads)
  unset(_shmtelemetry_include)
endif()
