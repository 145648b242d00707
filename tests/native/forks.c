/* One thread opens segments while another forks children, which live on until standard input ends. */
#include "shmtelemetry_producer.h"

#define SEGMENTS 300
#define CHILDREN 60

static const char *space;
static int opened; /* so far */

static void *open_all(void *argument) {
    shmtel_options options = {.capacity = 2};
    for (int number = 0; number < SEGMENTS; number++) {
        shmtel_telemetry *telemetry;
        if (shmtel_open(&telemetry, "engine", space, &options))
            exit(1);
        __atomic_store_n(&opened, number + 1, __ATOMIC_RELEASE);
    }
    return argument;
}

int main(int count, char **argument) {
    pthread_t thread;
    char byte;
    if (count != 2)
        return 1;
    space = argument[1];
    if (pthread_create(&thread, NULL, open_all, NULL))
        return 1;
    for (int child = 0; child < CHILDREN; child++) {
        while (__atomic_load_n(&opened, __ATOMIC_ACQUIRE) < child * SEGMENTS / CHILDREN)
            ;
        if (fork() == 0)
            return read(STDIN_FILENO, &byte, 1) != 0;
    }
    pthread_join(thread, NULL);
    puts("ready");
    fflush(stdout);
    pause();
}
