"""The words of some languages that can do no harm, for `code`."""

from __future__ import annotations

from rustyclaw_exec.values import names

#: The words of each language that cannot run, write or send anything.
HARMLESS = {
    "perl": names(
        "print printf say if elsif unless else while until for foreach my our local "
        "use strict warnings utf8 split join map grep sort reverse uc lc ucfirst "
        "lcfirst length substr index rindex sprintf push pop shift unshift keys values "
        "each exists defined delete scalar chomp chop abs int sqrt x eq ne lt gt le ge "
        "cmp and or not last next redo return sub BEGIN END qw m ord chr hex oct time "
        "localtime gmtime STDIN STDERR STDOUT _ ARGV ENV INC List Util sum sum0 max "
        "min first uniq JSON PP decode_json encode_json POSIX strftime floor ceil NR n "
        "e a b i exit die warn undef wantarray"
    ),
    "ruby": names(
        "puts print p pp if unless elsif else while until for do end def each map "
        "select reject inject reduce sum min max sort sort_by reverse join split gsub "
        "sub strip chomp length size upcase downcase capitalize to_s to_i to_f to_a "
        "first last times upto downto step require json csv date time set JSON parse "
        "generate pretty_generate File read readlines exist basename dirname extname "
        "ARGV ENV ARGF STDIN STDOUT gets RUBY_VERSION Date today Time now strftime "
        "Math sqrt Array Hash String Integer Float nil true false then case when and "
        "or not in begin rescue ensure return yield lambda proc new keys values "
        "include empty uniq flatten zip each_with_index collect format printf rand "
        "Random each_line lines chars i n x a b s"
    ),
    "node": names(
        "console log error warn table dir JSON parse stringify process version "
        "versions argv env exit cwd platform arch uptime memoryUsage hrtime stdout "
        "write require const let var of in for if else function return map filter "
        "reduce join split trim toString length Math max min round floor ceil abs "
        "random PI sqrt pow Date now toISOString getTime Object keys values entries "
        "Array from isArray push slice concat includes indexOf sort reverse forEach "
        "some every find Number parseInt parseFloat isNaN String toUpperCase "
        "toLowerCase padStart padEnd replace repeat true false null undefined new "
        "typeof while do break continue try catch fs path os util readFileSync "
        "existsSync readdirSync statSync size join basename dirname extname resolve "
        "inspect default name main scripts dependencies async await then Promise all x "
        "y i n a b s k v e d f r utf8 fromEntries toFixed Set Map has get set"
    ),
    "php": names(
        "echo print printf var_dump print_r if else elseif foreach for while as "
        "function fn return array count strlen str_replace substr explode implode "
        "json_encode json_decode date time phpversion PHP_VERSION PHP_EOL PHP_OS "
        "strtoupper strtolower ucfirst trim sprintf md5 sha1 hash base64_encode "
        "base64_decode range array_sum array_keys array_values in_array max min round "
        "floor ceil intdiv abs sqrt pi rand mt_rand random_int true false null new "
        "DateTime format php phpinfo ini_get php_sapi_name php_uname extension_loaded "
        "get_loaded_extensions JSON_PRETTY_PRINT"
    ),
    "lua": names(
        "print string table math os time date clock getenv io read write lines for "
        "while do end function local return if then else elseif not and or in pairs "
        "ipairs tostring tonumber type format rep sub gsub match gmatch find len upper "
        "lower insert concat sort floor ceil sqrt max min huge pi random _VERSION true "
        "false nil i x n s k v a b"
    ),
}
#: Texts that name something dangerous when code looks it up by name.
DANGEROUS_TEXT = names(
    "constructor __proto__ eval Function child_process process mainModule require "
    "binding net http https http2 tls dgram dns cluster vm worker_threads repl "
    "inspector module v8 wasi system exec shell_exec passthru popen proc_open "
    "pcntl_exec assert unlink call_user_func create_function include execute "
    "loadstring"
)
