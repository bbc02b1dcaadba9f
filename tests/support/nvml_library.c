/* A libnvidia-ml.so.1 of an old driver, for the loader: one GPU of constant 100 W whose counter
 * moves every 50 ms, and no function beyond what naming and metering it needs. */
#include <stdint.h>
#include <string.h>
#include <time.h>

#define TICK_NS 50000000LL
#define WATTS 100

static int text(char *out, unsigned size, const char *value) {
    strncpy(out, value, size);
    return 0;
}

int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return "simulated"; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return text(out, size, "0.0-simulated"); }
int nvmlSystemGetNVMLVersion(char *out, unsigned size) { return text(out, size, "0.0-simulated"); }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)1; return 0; }
int nvmlDeviceGetName(void *device, char *out, unsigned size) { return text(out, size, "SIMULATED in C"); }
int nvmlDeviceGetUUID(void *device, char *out, unsigned size) { return text(out, size, "GPU-SIMULATED-C"); }

int nvmlDeviceGetPciInfo_v3(void *device, char *out) {
    memset(out, 0, 68);
    strcpy(out + 36, "00000000:01:00.0");
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *device, uint64_t *memory) {
    memory[0] = memory[1] = 1ULL << 34;
    memory[2] = 0;
    return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, uint64_t *energy_mj) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ticks = (now.tv_sec * 1000000000LL + now.tv_nsec) / TICK_NS;
    *energy_mj = ticks * (TICK_NS / 1000000) * WATTS;
    return 0;
}
