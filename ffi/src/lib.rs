//! Links the C shims (`shims.c`): the variadic and long-double entry points of the module API. They turn their arguments
//! into arrays and call functions of the server, which declares both sides in the files of `src/module/api/`.
