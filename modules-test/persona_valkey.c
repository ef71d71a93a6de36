/* persona.c with the entry point of Valkey and no other. */
#define RedisModule_OnLoad ValkeyModule_OnLoad
#define NAME "persona_valkey"
#include "persona.c"
