# find_package(xonce) for CMake: the target xonce::xonce, found from where this file is installed, so that the whole tree may be moved.
# xonce/postgres.h, mysql.h and sqlite.h include the headers of those clients: add PostgreSQL::PostgreSQL, SQLite::SQLite3 or the like yourself.
get_filename_component(_xonce_libdir "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)

set(_xonce_include)
foreach(_xonce_up "/../include" "/../../include")
    if(NOT _xonce_include AND EXISTS "${_xonce_libdir}${_xonce_up}/xonce/xonce.h")
        get_filename_component(_xonce_include "${_xonce_libdir}${_xonce_up}" ABSOLUTE)
    endif()
endforeach()

# _xonce_add(TARGET LIBRARY HEADER): an imported target, when both are there
function(_xonce_add target library header)
    if(NOT TARGET ${target} AND _xonce_include AND EXISTS "${_xonce_include}/xonce/${header}" AND EXISTS "${_xonce_libdir}/lib${library}${CMAKE_SHARED_LIBRARY_SUFFIX}")
        add_library(${target} SHARED IMPORTED)
        set_target_properties(${target} PROPERTIES
            IMPORTED_LOCATION "${_xonce_libdir}/lib${library}${CMAKE_SHARED_LIBRARY_SUFFIX}"
            INTERFACE_INCLUDE_DIRECTORIES "${_xonce_include}")
    endif()
endfunction()

_xonce_add(xonce::xonce xonce xonce.h)
_xonce_add(xonce::test xonce-test test.h)
if(TARGET xonce::test AND TARGET xonce::xonce)
    set_property(TARGET xonce::test PROPERTY INTERFACE_LINK_LIBRARIES xonce::xonce)
endif()

if(TARGET xonce::xonce)
    set(xonce_FOUND TRUE)
else()
    set(xonce_FOUND FALSE)
    set(xonce_NOT_FOUND_MESSAGE "no shared library or no headers beside ${CMAKE_CURRENT_LIST_DIR}; a static library is linked with what xonce.pc requires: docs/installing.md")
endif()
set(xonce_test_FOUND FALSE)
if(TARGET xonce::test)
    set(xonce_test_FOUND TRUE)
endif()
foreach(_xonce_part IN LISTS xonce_FIND_COMPONENTS)
    if(xonce_FIND_REQUIRED_${_xonce_part} AND NOT TARGET xonce::${_xonce_part})
        set(xonce_FOUND FALSE)
        set(xonce_NOT_FOUND_MESSAGE "there is no component ${_xonce_part}")
    endif()
endforeach()
unset(_xonce_libdir)
unset(_xonce_include)
