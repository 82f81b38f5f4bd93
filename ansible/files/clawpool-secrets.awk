#!/usr/bin/awk -f
# The gateway's exec secret provider: answers {"ids":["NAME",…]} on stdin with the values that the `.env` named by
# the first argument has now. awk, because it runs on every reload of a hand-over: 3 ms, where Node needs 40.
# It understands one-line assignments, quoted or not, as dotenv does; a name it does not find is an error of that id.
BEGIN {
  file = ARGV[1]
  ARGC = 1
  quote = sprintf("%c", 39)
  while ((getline line < file) > 0) remember(line)
}
{ request = request $0 }
END {
  printf "{\"protocolVersion\":1,\"values\":{"
  if (match(request, /"ids"[ \t]*:[ \t]*\[[^]]*\]/)) {
    list = substr(request, RSTART, RLENGTH)
    sub(/^[^[]*\[/, "", list)
    while (match(list, /"[A-Za-z0-9_]+"/)) {
      id = substr(list, RSTART + 1, RLENGTH - 2)
      list = substr(list, RSTART + RLENGTH)
      if (id in value) printf "%s\"%s\":\"%s\"", (found++ ? "," : ""), id, json(value[id])
      else errors = errors (errors == "" ? "" : ",") "\"" id "\":{\"code\":\"NOT_FOUND\"}"
    }
  }
  printf "},\"errors\":{%s}}\n", errors
}
function remember(line,    name, first, close_at) {
  sub(/\r$/, "", line)
  sub(/^[ \t]*(export[ \t]+)?/, "", line)
  if (!match(line, /^[A-Za-z_][A-Za-z0-9_]*[ \t]*=[ \t]*/)) return
  name = line
  sub(/[ \t]*=.*$/, "", name)
  line = substr(line, RLENGTH + 1)
  first = substr(line, 1, 1)
  if (first == quote || first == "\"" || first == "`") {
    line = substr(line, 2)
    close_at = index(line, first)
    if (close_at == 0) return
    value[name] = substr(line, 1, close_at - 1)
  } else {
    sub(/#.*$/, "", line)
    sub(/[ \t]+$/, "", line)
    value[name] = line
  }
}
function json(text) {
  gsub(/["\\]/, "\\\\&", text)
  gsub(/\t/, "\\t", text)
  return text
}
