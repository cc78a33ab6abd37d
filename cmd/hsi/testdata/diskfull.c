// Preloaded into a database server: while the file FULL exists no file can become longer, as on a full disk. What is there already can
// still be written over.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int refused(int fd, off_t end) {
	struct stat file;
	if (access(FULL, F_OK) != 0 || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || end <= file.st_size) return 0;
	errno = ENOSPC;
	return 1;
}

static off_t position(int fd) {
	struct stat file;
	if (fcntl(fd, F_GETFL) & O_APPEND) return fstat(fd, &file) == 0 ? file.st_size : 0;
	return lseek(fd, 0, SEEK_CUR);
}

static off_t length(const struct iovec *parts, int count) {
	off_t sum = 0;
	for (int i = 0; i < count; i++) sum += (off_t)parts[i].iov_len;
	return sum;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
	return refused(fd, position(fd) + (off_t)size) ? -1 : REAL(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
	return refused(fd, at + (off_t)size) ? -1 : REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
	return refused(fd, at + (off_t)size) ? -1 : REAL(pwrite64)(fd, data, size, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
	return refused(fd, at + length(parts, count)) ? -1 : REAL(pwritev)(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
	return refused(fd, at + length(parts, count)) ? -1 : REAL(pwritev64)(fd, parts, count, at);
}
int posix_fallocate(int fd, off_t at, off_t size) {
	return refused(fd, at + size) ? ENOSPC : REAL(posix_fallocate)(fd, at, size);
}
int posix_fallocate64(int fd, off64_t at, off64_t size) {
	return refused(fd, at + size) ? ENOSPC : REAL(posix_fallocate64)(fd, at, size);
}
