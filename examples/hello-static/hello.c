/* Says who it is, and leaves a file that shows who that is outside the container. */
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    printf("hello from a static binary: uid %d, gid %d inside the container\n", (int)getuid(), (int)getgid());
    if (argc < 2)
        return 0;
    FILE *file = fopen(argv[1], "w");
    if (!file) {
        perror(argv[1]);
        return 1;
    }
    fprintf(file, "written by uid %d\n", (int)getuid());
    return fclose(file) == 0 ? 0 : 1;
}
