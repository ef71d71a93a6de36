/* A shared library without RedisModule_OnLoad: loading it must be refused. */
int backplane_not_a_module(void) { return 0; }
