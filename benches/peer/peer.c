/*
 * The peers that the benchmarks measure against: loadable functions on libgearman.
 *
 * peer_do_background is built the way the C plugin gearman-mysql-udf is. Every instance of the function
 * clones a client, which connects when it first submits, and frees it when the server is done with the
 * instance. In a trigger that is once for each row.
 *
 * peer_kept_do_background does what that plugin could have done: each thread of the server keeps its
 * client, until the list of servers changes.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <libgearman-1.0/gearman.h>

/* The interface of loadable functions, the same in MySQL and MariaDB. */
typedef struct {
  bool maybe_null;
  unsigned int decimals;
  unsigned long max_length;
  char *ptr;
  bool const_item;
  void *extension;
} UDF_INIT;

typedef struct {
  unsigned int arg_count;
  int *arg_type;
  char **args;
  unsigned long *lengths;
  char *maybe_null;
  char **attributes;
  unsigned long *attribute_lengths;
  void *extension;
} UDF_ARGS;

static gearman_client_st *servers;
/* Counts the lists, so that a thread sees that its client is of an earlier one. */
static unsigned long list_number;

/* peer_servers_set(servers): 1 on success. */
bool peer_servers_set_init(UDF_INIT *init, UDF_ARGS *args, char *message) {
  (void)init;
  if (args->arg_count != 1) {
    strcpy(message, "Must give one argument.");
    return true;
  }
  return false;
}

long long peer_servers_set(UDF_INIT *init, UDF_ARGS *args, char *is_null, char *error) {
  (void)init;
  (void)is_null;
  (void)error;
  char list[1024] = "";
  if (args->lengths[0] >= sizeof list) {
    return 0;
  }
  memcpy(list, args->args[0], args->lengths[0]);
  gearman_client_free(servers);
  servers = gearman_client_create(NULL);
  list_number++;
  return gearman_success(gearman_client_add_servers(servers, list));
}

/* peer_do_background(function, workload): the job handle, or NULL. */
bool peer_do_background_init(UDF_INIT *init, UDF_ARGS *args, char *message) {
  if (args->arg_count != 2) {
    strcpy(message, "Must give two arguments.");
    return true;
  }
  init->maybe_null = true;
  init->max_length = GEARMAN_JOB_HANDLE_SIZE;
  init->ptr = (char *)gearman_client_clone(NULL, servers);
  if (init->ptr == NULL) {
    strcpy(message, "Failed to clone the client.");
    return true;
  }
  return false;
}

static char *submit(gearman_client_st *client, UDF_ARGS *args, char *result, unsigned long *length,
                    char *is_null, char *error) {
  char function[256] = "";
  if (args->lengths[0] >= sizeof function) {
    *error = 1;
    return NULL;
  }
  memcpy(function, args->args[0], args->lengths[0]);
  gearman_return_t submitted = gearman_client_do_background(client, function, NULL, args->args[1],
                                                            args->lengths[1], result);
  if (gearman_failed(submitted)) {
    *is_null = 1;
    return NULL;
  }
  *length = strlen(result);
  return result;
}

char *peer_do_background(UDF_INIT *init, UDF_ARGS *args, char *result, unsigned long *length,
                         char *is_null, char *error) {
  return submit((gearman_client_st *)init->ptr, args, result, length, is_null, error);
}

void peer_do_background_deinit(UDF_INIT *init) {
  gearman_client_free((gearman_client_st *)init->ptr);
}

/* peer_kept_do_background(function, workload): the same with the thread's own client. */
bool peer_kept_do_background_init(UDF_INIT *init, UDF_ARGS *args, char *message) {
  static __thread gearman_client_st *client;
  static __thread unsigned long list_of_client;
  if (args->arg_count != 2) {
    strcpy(message, "Must give two arguments.");
    return true;
  }
  init->maybe_null = true;
  init->max_length = GEARMAN_JOB_HANDLE_SIZE;
  if (client == NULL || list_of_client != list_number) {
    gearman_client_free(client);
    client = gearman_client_clone(NULL, servers);
    list_of_client = list_number;
  }
  init->ptr = (char *)client;
  if (init->ptr == NULL) {
    strcpy(message, "Failed to clone the client.");
    return true;
  }
  return false;
}

char *peer_kept_do_background(UDF_INIT *init, UDF_ARGS *args, char *result, unsigned long *length,
                              char *is_null, char *error) {
  return submit((gearman_client_st *)init->ptr, args, result, length, is_null, error);
}
