#!/usr/bin/env bash
# Installs libgearman_mysql_udf.so into the MySQL or MariaDB server of this machine, and says what it
# did. Safe to run again: that is how a new version is installed, or an old one.
#
#     install.sh [OPTION...] [CLIENT-OPTION...]
#
#     --plugin              also install the plugin gman: settings and counters of the server
#     --servers LIST        name the job servers, until the server's next start
#     --json-names          also create json_object and json_array, where the server leaves them free
#     --replace-c-plugins   take the place of the C plugins, whose functions and triggers stay as they
#                           are, from the server's next start; their files are kept beside ours as
#                           FILE.c-plugin
#     --uninstall           drop the functions, take the library away, put the C plugins back
#     --force               with --uninstall: although triggers, routines, events or views call them
#     --client PROGRAM      the client program; mariadb or else mysql by default
#     --help                this text
#
# Everything else, such as --user=root --password or --socket=/run/mysqld/mysqld.sock, is for the
# client. The account needs all privileges on the schema mysql; this script, those of the server's
# plugin directory.
#
# A running server keeps the library that it has loaded: files are replaced by rename, and a new
# version is active after the next start of the server.
set -euo pipefail

readonly LIBRARY=libgearman_mysql_udf.so
# Behind the name of a C plugin's file that ours took the place of.
readonly KEPT=.c-plugin
# A function that none of the C plugins has, and each version of ours.
readonly ONLY_OURS=gman_check

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
action=install plugin='' servers='' json_names='' replace='' force='' pending=''
client=()

main() {
    local options=()
    while (($# != 0)); do
        case $1 in
            --plugin) plugin=yes ;;
            --servers) shift && servers=${1:?--servers: which ones?} ;;
            --json-names) json_names=yes ;;
            --replace-c-plugins) replace=yes ;;
            --uninstall) action=uninstall ;;
            --force) force=yes ;;
            --client) shift && client=("${1:?--client: which program?}") ;;
            --help) usage && return ;;
            -p | --password) ask_password ;;
            *) options+=("$1") ;;
        esac
        shift
    done
    [[ $servers != *[\'\\]* ]] || die "--servers: expected host:port,host:port, not $servers"
    [[ ! $force || $action == uninstall ]] || die '--force goes with --uninstall'
    [[ ${#client[@]} != 0 ]] || find_client
    client+=(${options[@]+"${options[@]}"} --batch --skip-column-names)

    plugin_dir=$(query 'SELECT @@plugin_dir')
    say "server $(query 'SELECT VERSION()'), plugin directory $plugin_dir"
    [[ -d $plugin_dir ]] || die "$plugin_dir is not here: run this on the machine of the server"
    plugin_dir=${plugin_dir%/}
    names=$(our_names)
    "$action"
}

usage() {
    sed -n '2,/^[^#]/s/^#\( \|$\)//p' "${BASH_SOURCE[0]}"
}

say() {
    echo "install.sh: $*"
}

die() {
    echo "install.sh: $*" >&2
    exit 1
}

find_client() {
    local program
    for program in mariadb mysql; do
        if command -v "$program" >/dev/null; then
            client=("$program")
            return
        fi
    done
    die 'neither mariadb nor mysql is on the PATH: install a client, or name one with --client'
}

# The client is started several times; it would ask each time.
ask_password() {
    read -rsp 'Enter password: ' MYSQL_PWD </dev/tty
    echo >/dev/tty
    export MYSQL_PWD
}

query() {
    "${client[@]}" --execute="$1"
}

# Our functions as an SQL list: 'gman_do','gman_do_high',...
our_names() {
    cat "$here"/sql/install.sql "$here"/sql/install-json-names.sql \
        | sed -n "s/^ *CREATE .*FUNCTION \\([a-z_]*\\) RETURNS .*/'\\1'/p" | paste -sd ,
}

is_ours() {
    grep -q "$ONLY_OURS" "$1"
}

# ---- installing

install() {
    put_library
    if [[ $replace ]]; then
        replace_c_plugins
    else
        mention_c_plugins
    fi
    create_functions
    [[ ! $json_names || $pending ]] || run_file install-json-names.sql
    [[ ! $plugin || $pending ]] || install_plugin
    [[ ! $servers || $pending ]] || say "job servers: $(query "SELECT gman_servers_set('$servers')")"
    [[ ! $pending ]] || say "restart the server when it suits you, then run this again: $pending"
}

# The library as it came: beside this file, or in the plugin directory of Debian's servers, where
# Debian's package has it.
source_library() {
    local file
    for file in "$here/$LIBRARY" "$here/../../lib/mysql/plugin/$LIBRARY"; do
        if [[ -f $file ]]; then
            echo "$file"
            return
        fi
    done
    die "no $LIBRARY beside $0"
}

put_library() {
    local source target=$plugin_dir/$LIBRARY
    source=$(source_library)
    if [[ $source -ef $target ]]; then
        say "$LIBRARY is there, as the package has it"
    elif cmp -s "$source" "$target"; then
        say "$LIBRARY is there already"
    else
        if [[ -e $target ]] && ! is_ours "$target"; then
            [[ $replace ]] || die "$target is the C plugin: --replace-c-plugins takes its place"
            keep "$target"
        fi
        cp "$source" "$target.new"
        chmod 644 "$target.new"
        mv -f "$target.new" "$target"
        say "copied $LIBRARY"
    fi
}

# keep FILE: under a second name, so that the first one never points to nothing.
keep() {
    [[ ! -e $1$KEPT ]] || die "$1$KEPT is there already; move it out of the way if $1 is to be kept"
    ln "$1" "$1$KEPT"
    say "kept ${1##*/} as ${1##*/}$KEPT"
}

# The files under which the server looks for functions of ours, ours aside.
foreign_libraries() {
    query "SELECT DISTINCT dl FROM mysql.func WHERE LOWER(name) IN ($names) AND dl <> '$LIBRARY'"
}

mention_c_plugins() {
    local library
    for library in $(foreign_libraries); do
        if ! is_link_to_ours "$plugin_dir/$library"; then
            say "$library has functions of these names: --replace-c-plugins takes its place"
        fi
    done
}

is_link_to_ours() {
    [[ -L $1 && $(readlink "$1") == "$LIBRARY" ]]
}

replace_c_plugins() {
    local library strangers
    for library in $(foreign_libraries); do
        is_link_to_ours "$plugin_dir/$library" && continue
        strangers=$(query "SELECT name FROM mysql.func WHERE dl = '$library' AND LOWER(name) NOT IN ($names)")
        [[ -z $strangers ]] || die "$library has other functions too: ${strangers//$'\n'/ }"
        [[ ! -e $plugin_dir/$library ]] || keep "$plugin_dir/$library"
        # One file behind all names: they share their settings and connections, and an upgrade is one.
        ln -sf "$LIBRARY" "$plugin_dir/$library.new"
        mv -f "$plugin_dir/$library.new" "$plugin_dir/$library"
        say "$library is $LIBRARY now"
    done
}

run_file() {
    "${client[@]}" <"$here/sql/$1"
}

# 1127, "can't find symbol": the server has another library of this name open, from before.
create_functions() {
    local said
    if said=$(run_file install.sql 2>&1); then
        say "functions: $(query "SELECT name FROM mysql.func WHERE LOWER(name) IN ($names) ORDER BY name" | paste -sd ' ')"
    elif [[ $said == *'ERROR 1127 '* ]]; then
        query 'DROP PROCEDURE IF EXISTS mysql.gman_install'
        pending='the server still runs another version, which does not have all functions'
    else
        die "$said"
    fi
}

install_plugin() {
    if [[ $(query "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = 'gman'") == 1 ]]; then
        say 'the plugin gman is there already'
    else
        query "INSTALL PLUGIN gman SONAME '$LIBRARY'"
        say 'installed the plugin gman'
    fi
}

# ---- uninstalling

uninstall() {
    local users function library
    users=
    [[ $force ]] || users=$(users_of_our_functions)
    if [[ $users ]]; then
        die "these call the functions; drop them first, or use --force:"$'\n'"$users"
    fi
    uninstall_plugin
    query "SELECT name, dl FROM mysql.func WHERE LOWER(name) IN ($names)" | while read -r function library; do
        uninstall_function "$function" "$library"
    done
    take_away_files
}

# What would fail without the functions that the server has from us, a line for each.
users_of_our_functions() {
    local installed pattern
    installed=$(query "SELECT DISTINCT LOWER(name) FROM mysql.func WHERE LOWER(name) IN ($names)" | paste -sd '|')
    [[ $installed ]] || return 0
    pattern="(^|[^a-z0-9_\$])($installed)\`?[[:space:]]*[(]"
    query "
        SELECT CONCAT('trigger ', trigger_schema, '.', trigger_name)
          FROM information_schema.triggers WHERE $(matches trigger_schema action_statement "$pattern")
        UNION ALL
        SELECT CONCAT(LOWER(routine_type), ' ', routine_schema, '.', routine_name)
          FROM information_schema.routines WHERE $(matches routine_schema routine_definition "$pattern")
        UNION ALL
        SELECT CONCAT('event ', event_schema, '.', event_name)
          FROM information_schema.events WHERE $(matches event_schema event_definition "$pattern")
        UNION ALL
        SELECT CONCAT('view ', table_schema, '.', table_name)
          FROM information_schema.views WHERE $(matches table_schema view_definition "$pattern")"
}

# matches SCHEMA TEXT PATTERN: the condition, on columns; the server's own schemas are passed over.
# MySQL gives a match little time (regexp_time_limit), so it is not tried on texts without a name.
matches() {
    echo "CASE WHEN $1 IN ('mysql', 'sys') THEN FALSE
        WHEN LOCATE('gman_', LOWER($2)) + LOCATE('json_', LOWER($2)) = 0 THEN FALSE
        ELSE LOWER($2) REGEXP '$3' END"
}

uninstall_plugin() {
    [[ $(query "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = 'gman'") == 1 ]] || return 0
    query 'UNINSTALL PLUGIN gman'
    say 'uninstalled the plugin gman'
}

# uninstall_function NAME LIBRARY: one that a C plugin has, which comes back, stays.
uninstall_function() {
    local file=$plugin_dir/$2
    if [[ -e $file$KEPT ]] && grep -qw "$1" "$file$KEPT"; then
        say "left $1, which $2 has too"
    elif [[ -e $file$KEPT || $2 == "$LIBRARY" ]] || is_link_to_ours "$file"; then
        query "DROP FUNCTION \`$1\`"
        say "dropped $1"
    fi
}

take_away_files() {
    local kept file
    for kept in "$plugin_dir"/*"$KEPT"; do
        [[ -e $kept ]] || continue
        mv -f "$kept" "${kept%"$KEPT"}"
        kept=${kept##*/}
        say "put ${kept%"$KEPT"} back; the server runs it after its next start"
    done
    for file in "$plugin_dir"/*; do
        if is_link_to_ours "$file"; then
            rm "$file"
            say "removed ${file##*/}"
        fi
    done
    file=$plugin_dir/$LIBRARY
    if [[ ! -e $file ]] || ! is_ours "$file"; then
        return
    elif [[ $(source_library) -ef $file ]]; then
        say "$LIBRARY goes with the package"
    else
        rm "$file"
        say "removed $LIBRARY"
    fi
}

main "$@"
