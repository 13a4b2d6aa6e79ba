/* A libcuda.so.1 that answers as a driver would that cannot be used: NVIDIA_STUB_DRIVER is the CUDA version that it says it is
   for (12020 for 12.2), NVIDIA_STUB_INIT what cuInit returns (100: no device). NVIDIA_STUB_LOG names a file for the processes that
   called it and the CUDA_VISIBLE_DEVICES that each had. Variables of these names reach a trainer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void note(const char *call) {
    const char *path = getenv("NVIDIA_STUB_LOG"), *visible = getenv("CUDA_VISIBLE_DEVICES");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, "%d %s %s\n", getpid(), call, visible ? visible : "(unset)");
    fclose(file);
}

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

int cuInit(unsigned flags) { note("cuInit"); return number("NVIDIA_STUB_INIT", 100); }
int cuDriverGetVersion(int *version) { note("cuDriverGetVersion"); *version = number("NVIDIA_STUB_DRIVER", 13000); return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuGetExportTable(const void **table, const void *id) { *table = 0; return 500; }
int cuGetProcAddress(const char *symbol, void **address, int version, unsigned long long flags) {
    void *library = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_LAZY);
    *address = library ? dlsym(library, symbol) : NULL;
    return *address ? 0 : 500;
}
int cuGetProcAddress_v2(const char *symbol, void **address, int version, unsigned long long flags, void *status) {
    if (status) *(int *)status = 0;
    return cuGetProcAddress(symbol, address, version, flags);
}
