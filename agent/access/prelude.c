/* SPDX-License-Identifier: Apache-2.0
 *
 * See prelude.h.  Names in the Lua below: R, K, A are redis, KEYS and ARGV of the store; P the prefix, L where a
 * logical name begins in a physical one; M physical names of KEYS by logical ones; T and F where the keys of a
 * command are (T: of those that the script spells out; F: of all, in one string that costs nothing unless it is
 * looked into).
 *
 * What is said of a command: 0 has no keys, 1 has its first argument, "first,last,step" and letters are those of
 * commands.def, x may not be had, | has a second word.
 */
#include <config.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/prelude.h"
#include "access/project.h"

/* The body in pieces; each is one line, and ends where the next may begin. */
static const char head[] =
	"=(function(R,K,A,G)"
	"local type,string,unpack,select,error,pcall,rawset,setmetatable,tonumber="
	"type,string,unpack,select,error,pcall,rawset,setmetatable,tonumber "
	"local sub,find,match=string.sub,string.find,string.match "
	"local n=#A local P=A[n]A[n]=nil local L=#P+1 ";

static const char keys[] =
	"local M,Y={},{}for i=1,#K do local k=K[i]local s=sub(k,L)Y[i]=s M[s]=k end ";

static const char no_keys[] = "local M,Y={},K ";

/* A key in front of which nothing can be put goes on as it is: the store says what is wrong with it. */
static const char names[] =
	"local function phys(k)local t=type(k)if t=='string'then return P..k end "
	"if t=='number'then return P..string.format('%.17g',k)end return k end "
	"local function strip(s)if type(s)=='string'and sub(s,1,L-1)==P then return sub(s,L)end return s end "
	"local function no(s)return{err=s,ignore_error_stats_update=true}end "
	/* What is known of a command that the script does not spell out, or of one with a second word. */
	"local function spec(c)if type(c)=='number'then c=''..c end local i=find(F,' '..string.upper(c)..' ',1,true)"
	"if i then return match(F,'=(%S+)',i)end end ";

/* Keys that the arguments tell, as cmd_more_keys() reads them.  a: the words, a[i+1] is argv[i]; n: their number. */
static const char more[] =
	"local U=string.upper local function w(v)return type(v)=='string'and U(match(v,'^[^%z]*'))or''end "
	"local function told(m,a,n,px)"
	"if m=='A'or m=='B'then local p=m=='A'and 1 or 2 local c=tonumber(a[p+1])or 0 "
	"for i=p+1,n-1 do if i-p>c then break end px(i)end "
	"elseif m=='S'then local i=1 while i<n and w(a[i+1])~='STREAMS'do local o=w(a[i+1])"
	"if o=='GROUP'then i=i+2 elseif o=='COUNT'or o=='BLOCK'then i=i+1 elseif o~='NOACK'then return end i=i+1 end "
	"local q=n-i-1 if q>0 and q%2==0 then for j=1,q/2 do px(i+j)end end "
	"elseif m=='O'then local i=2 while i<n do local o=w(a[i+1])"
	"if o=='STORE'or o=='BY'or o=='GET'then i=i+1 if i<n then local v=a[i+1]"
	"if o=='STORE'or type(v)=='string'and find(v,'^[^%z]*%*')then px(i)end end "
	"elseif o=='LIMIT'then i=i+2 elseif o~='ASC'and o~='DESC'and o~='ALPHA'then break end i=i+1 end "
	"elseif m=='R'or m=='Q'then local i=m=='R'and 6 or 5 while i<n do local o=w(a[i+1])"
	"if not find(' WITHDIST WITHHASH WITHCOORD ANY ASC DESC ',' '..o..' ',1,true)then i=i+1 if i>=n then break end "
	"if o=='STORE'or o=='STOREDIST'then px(i)elseif o~='COUNT'then break end end i=i+1 end end end ";

static const char calls[] =
	"local raw=R.pcall "
	"local function many(t,c,k,...)local n=select('#',...)+2 local a={c,k,...}"
	"local function px(i)local v=a[i+1]a[i+1]=v~=nil and M[v]or phys(v)end "
	"local f,l,s,m,y=match(t,'^(%d+),(-?%d+),(%d+)(%u?)(%l?)$')f,l,s=tonumber(f),tonumber(l),tonumber(s)"
	"if f>0 then if l<0 then l=n+l end if l>=n then l=n-1 end for i=f,l,s do px(i)end end "
	"if m~=''then told(m,a,n,px)end "
	"local r=raw(unpack(a,1,n))if y=='k'then if type(r)=='table'then r[1]=strip(r[1])end "
	"elseif y=='s'then if type(r)=='table'then if r.map then local q={}for x,v in next,r.map do q[strip(x)]=v end r.map=q "
	"else for i=1,#r do local e=r[i]if type(e)=='table'then e[1]=strip(e[1])end end end end end return r end "
	"local function slow(c,k,...)local t=T[c]if t==nil and c~=nil then "
	"if type(c)~='string'and type(c)~='number'then return raw(c,k,...)end t=spec(c)"
	"if t=='|'then if k==nil then return raw(c)end t=(type(k)=='string'or type(k)=='number')and spec(c..'|'..k)end "
	"if not t then return no('ERR Unknown Redis command called from script')end end "
	"if t==1 or t=='1'then return raw(c,M[k]or phys(k),...)end "
	"if t==nil or t=='0'then if k==nil and select('#',...)==0 then return c==nil and raw()or raw(c)end return raw(c,k,...)end "
	"if t=='x'then return no(\"NOPERM '\"..string.lower(c)..\"' inside a script would reach beyond the project: "
	"name the keys that the script needs, or send the command outside of it\")end "
	"if k==nil then return raw(c)end return many(t,c,k,...)end "
	"local function clean(r)local s=r.err if type(s)=='string'then local i,j=find(s,P,1,true)"
	"while i do s=sub(s,1,i-1)..sub(s,j+1)i,j=find(s,P,i,true)end r.err=s end return r end ";

/* The store notes where an error was raised: that is here, so it is told the line of the caller. */
static const char call[] =
	"local function raise(r)local _,p=pcall(error,'',4)local n=tonumber(match(p,':(%d+): $'))"
	"if n then setmetatable(r,{__newindex=function(t,k,v)if k=='line'then v=n end rawset(t,k,v)end})end error(r,0)end "
	"local function call(c,k,...)local p,r=M[k]if p and T[c]==1 then r=raw(c,p,...)else r=slow(c,k,...)end "
	"if type(r)=='table'and r.err then raise(clean(r))end return r end "
	"local function pc(c,k,...)local r=slow(c,k,...)if type(r)=='table'and r.err then clean(r)end return r end ";

/* Where the script calls something without arguments: none is not the same as nil. */
static const char call_none[] =
	"local pc0=pc local function none(...)local c,k=...return k==nil and T[c]==1 and select('#',...)==1 end "
	"call=function(...)local r if none(...)then r=raw(...)else r=slow(...)end "
	"if type(r)=='table'and r.err then raise(clean(r))end return r end "
	"pc=function(...)if none(...)then return clean(raw(...))end return pc0(...)end ";

static const char acl[] =
	"local function may(c,...)if c==nil then return R.acl_check_cmd()end local t=spec(c)"
	"if t=='|'then local k=...t=type(k)=='string'and spec(c..'|'..k)end if not t or t=='x'then "
	"if t then return false end return R.acl_check_cmd(c,...)end return true end ";

/* Functions that lead around the prelude, for scripts that mention them. */
static const char getmeta[] =
	"local gm0=getmetatable local function gm(v)if type(v)=='string'then return{__index=string}end return gm0(v)end ";

static const char collect[] =
	"local cg0=collectgarbage local function cg(o,a)if o==nil or o=='collect'or o=='count'or o=='step'then return cg0(o,a)end "
	"return 0 end ";

static const char json[] =
	"local cj={}for k,v in next,cjson do cj[k]=v end for _,k in next,{'encode_sparse_array','encode_max_depth',"
	"'decode_max_depth','encode_number_precision','encode_keep_buffer','encode_invalid_numbers',"
	"'decode_invalid_numbers'}do if cj[k]then cj[k]=function()error('this setting of cjson would hold for every "
	"project of the store: cjson.new() has its own',2)end end end ";

/* Code that the script makes runs with the same names; never bytecode.  Whatever compiles alone is a whole block, so it
 * cannot end the function that it is put into. */
static const char load[] =
	"local ls0,E=loadstring,nil local function ls(s,n)if type(s)=='number'then s=''..s end "
	"if type(s)~='string'then error(\"bad argument #1 to 'loadstring' (string expected)\",2)end "
	"if string.byte(s)==27 then return nil,'bytecode is not taken'end n=n or s local f,e=ls0(s,n)"
	"if not f then return nil,e end f=ls0('local redis,KEYS,_G,loadstring,load,getmetatable,collectgarbage,cjson,server=... "
	"return function(...) '..s..'\\nend',n)"
	"return f(redis0,Y,E,E.loadstring,E.load,gm,cg,cj,redis0)end "
	"local function ld(f,n)local b={}while true do local s=f()if s==nil or s==''then break end b[#b+1]=s end "
	"return ls(table.concat(b),n or'=(load)')end "
	"E=setmetatable({redis=redis0,KEYS=Y,loadstring=ls,load=ld,getmetatable=gm,collectgarbage=cg,cjson=cj},"
	"{__index=G,__metatable=false,__newindex=function(t,k)error(\"Attempt to modify a readonly table\",2)end})"
	"rawset(E,'_G',E)";

const char prelude_probe[] =
	"local G=_G if not redis.REDIS_VERSION_NUM then return'it is older than Redis 7.0'end "
	"for _,k in ipairs{'getfenv','setfenv','debug','package','require','module','dofile','loadfile','io','newproxy'}do "
	"if rawget(G,k)~=nil then return'its Lua has '..k end end "
	"for _,t in ipairs{G,string,table,math,redis,cjson}do if pcall(function()t.psr_probe=1 end)then "
	"return'a script may change its libraries'end end return'ok'";

/* ---- the table ---- */

static const char refused[] = "x", nothing[] = "0", plain[] = "1", two_words[] = "|";

bool prelude_beyond(const struct command *c)
{
	if (c->flags & F_NOSCRIPT)
		return false; /* the store refuses it in a script */
	switch (c->id) {
	case CMD_COPY:
		return true;
	case CMD_PING: case CMD_ECHO: case CMD_COMMAND_COUNT: case CMD_COMMAND_DOCS: case CMD_COMMAND_INFO:
	case CMD_COMMAND_LIST: case CMD_COMMAND_GETKEYS: case CMD_TIME:
		return false;
	default:
		return c->run != RUN_BACKEND || c->args == A_PATTERN || c->args == A_SCAN;
	}
}

static const char *spec_of(const struct command *c, char *text, size_t cap)
{
	static const char more_of[] = { [KEYS_FIXED] = 0, [KEYS_COUNT_1] = 'A', [KEYS_COUNT_2] = 'B',
		[KEYS_STREAMS] = 'S', [KEYS_SORT] = 'O', [KEYS_STORE] = 'R', [KEYS_USER] = 0 };
	char letters[3] = "", *at = letters;
	char m = c->id == CMD_SORT_RO ? 'O' : c->id == CMD_GEORADIUSBYMEMBER ? 'Q' :
	    c->more < sizeof more_of ? more_of[c->more] : 0; /* those behind are of no row that a script may run */

	if (c->flags & F_CONTAINER)
		return two_words;
	if (prelude_beyond(c))
		return refused;
	if (c->args == A_CHANNEL)
		return plain;
	if (c->flags & F_NOSCRIPT || (!c->first && !m))
		return nothing;
	if (m)
		*at++ = m;
	if (c->transform == X_FIRST || c->transform == X_KEYS || c->transform == X_STREAMS)
		*at++ = c->transform == X_STREAMS ? 's' : 'k';
	*at = '\0';
	if (c->first == 1 && c->last == 1 && !letters[0])
		return plain;
	snprintf(text, cap, "%d,%d,%d%s", c->first, c->last, c->step ? c->step : 1, letters);
	return text;
}

void prelude_table(struct buf *out)
{
	bool done[CMD_COUNT] = { false };
	char mine[32], other[32];

	buf_putc(out, ' ');
	for (uint32_t i = 0; i < CMD_COUNT; i++) {
		const char *s = spec_of(&cmd_rows[i], mine, sizeof mine);

		if (done[i] || strchr(cmd_rows[i].name, '.'))
			continue;
		for (uint32_t k = i; k < CMD_COUNT; k++) {
			if (done[k] || strchr(cmd_rows[k].name, '.') || strcmp(s, spec_of(&cmd_rows[k], other, sizeof other)))
				continue;
			buf_printf(out, "%s ", cmd_rows[k].name);
			done[k] = true;
		}
		buf_printf(out, "=%s ", s);
	}
	for (uint32_t i = 0; i < cmd_nrefusals; i++)
		buf_printf(out, "%s ", cmd_refusals[i].name);
	buf_puts(out, "=x ");
}

/* ---- what a script mentions ---- */

static bool mentions(const char *p, size_t n, const char *word)
{
	return memmem(p, n, word, strlen(word)) != NULL;
}

static bool name_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* Does a name of its own begin at at and end at to: no part of another, no field as in x.name, but for x..name? */
static bool own_name(const char *p, const char *at, const char *to, const char *end)
{
	if (at > p && (name_char(at[-1]) || (at[-1] == '.' && (at - 1 == p || at[-2] != '.'))))
		return false;
	return to >= end || !name_char(*to);
}

static bool names_it(const char *p, size_t n, const char *word)
{
	const char *at = p, *end = p + n;
	size_t k = strlen(word);

	for (; (at = memmem(at, (size_t)(end - at), word, k)); at += k)
		if (own_name(p, at, at + k, end))
			return true;
	return false;
}

/* Is the name only used with one of these words behind it, as redis.call?  NULL: with any word. */
static bool only_with(const char *p, size_t n, const char *name, const char *const *words)
{
	const char *end = p + n, *at = p;
	size_t k = strlen(name);

	for (; (at = memmem(at, (size_t)(end - at), name, k)); at += k) {
		const char *q = at + k, *w;
		unsigned i = 0;

		if (!own_name(p, at, q, end))
			continue;
		if (q >= end || *q++ != '.')
			return false;
		for (w = q; q < end && name_char(*q); q++)
			;
		while (words && words[i] && (strlen(words[i]) != (size_t)(q - w) || memcmp(words[i], w, (size_t)(q - w))))
			i++;
		if (q == w || (words && !words[i]))
			return false;
	}
	return true;
}

/* A word between quotes at p+at, whose end is *to; the spec of the command that it names, or NULL. */
static const char *spelled(const char *p, size_t n, size_t at, size_t *to, char *text, size_t cap)
{
	char name[32];
	size_t k = at + 1;

	while (k < n && k - at < sizeof name && (name_char(p[k]))) {
		name[k - at - 1] = (char)toupper((unsigned char)p[k]);
		k++;
	}
	*to = k;
	if (k >= n || p[k] != p[at] || k == at + 1 || k - at >= sizeof name)
		return NULL;
	name[k - at - 1] = '\0';
	for (uint32_t i = 0; i < CMD_COUNT; i++)
		if (!strcmp(cmd_rows[i].name, name))
			return spec_of(&cmd_rows[i], text, cap);
	return NULL;
}

/* 'get') : a command that is spelled out, and nothing behind it. */
static bool calls_bare(const char *p, size_t n)
{
	for (size_t at = 0, to; at < n; at = to) {
		char text[32];

		to = at + 1;
		if ((p[at] != '\'' && p[at] != '"') || spelled(p, n, at, &to, text, sizeof text) != plain)
			continue;
		for (at = to + 1; at < n && isspace((unsigned char)p[at]); at++)
			;
		if (at < n && p[at] == ')')
			return true;
	}
	return false;
}

#define SPELLED_MAX 64u /* commands in T: what more there are is found in F */

static void put_spelled(struct buf *out, const char *p, size_t n)
{
	struct { size_t at, n; } seen[SPELLED_MAX];
	unsigned nseen = 0;

	buf_puts(out, "local T={");
	for (size_t at = 0, to; at < n && nseen < SPELLED_MAX; at = to > at ? to : at + 1) {
		char text[32];
		const char *s;
		unsigned i = 0;

		to = at + 1;
		if (p[at] != '\'' && p[at] != '"')
			continue;
		s = spelled(p, n, at, &to, text, sizeof text);
		if (!s || s == two_words)
			continue;
		while (i < nseen && (seen[i].n != to - at || memcmp(p + seen[i].at + 1, p + at + 1, to - at - 1)))
			i++;
		if (i < nseen)
			continue;
		seen[nseen].at = at;
		seen[nseen++].n = to - at;
		buf_puts(out, "['");
		buf_put(out, p + at + 1, to - at - 1);
		if (s == plain)
			buf_puts(out, "']=1,");
		else
			buf_printf(out, "']='%s',", s);
	}
	buf_puts(out, "} ");
}

struct mentioned { bool redis, keys, code, meta, collect, json; };

static void put_redis(struct buf *out, const struct buf *table, const struct mentioned *m, const char *p, size_t n)
{
	static const char *const usual[] = { "sha1hex", "log", "error_reply", "status_reply", "setresp", "set_repl",
		"replicate_commands", "breakpoint", "debug", NULL };
	bool all = m->code || !only_with(p, n, "redis", NULL);

	buf_puts(out, "local F='");
	buf_put(out, buf_data(table), buf_len(table));
	buf_puts(out, "' ");
	put_spelled(out, p, n);
	buf_puts(out, names);
	buf_puts(out, more);
	buf_puts(out, calls);
	buf_puts(out, call);
	if (calls_bare(p, n))
		buf_puts(out, call_none);
	if (all || mentions(p, n, "acl_check_cmd"))
		buf_puts(out, acl);
	if (all) {
		buf_puts(out, "local redis0={}for k,v in next,R do redis0[k]=v end "
		    "redis0.call=call redis0.pcall=pc redis0.acl_check_cmd=may ");
		return;
	}
	buf_puts(out, "local redis0={call=call,pcall=pc,");
	for (unsigned i = 0; usual[i]; i++)
		if (mentions(p, n, usual[i]))
			buf_printf(out, "%s=R.%s,", usual[i], usual[i]);
	if (mentions(p, n, "acl_check_cmd"))
		buf_puts(out, "acl_check_cmd=may,");
	for (const char *at = p, *end = p + n; (at = memmem(at, (size_t)(end - at), "redis.", 6));) {
		at += 6; /* constants: redis.LOG_WARNING */
		if (at < end && isupper((unsigned char)*at)) {
			size_t k = 0;

			while (at + k < end && name_char(at[k]))
				k++;
			buf_put(out, at, k);
			buf_puts(out, "=R.");
			buf_put(out, at, k);
			buf_putc(out, ',');
		}
	}
	buf_puts(out, "} ");
}

static void put_prelude(struct buf *out, const struct buf *table, const struct mentioned *m, const char *p, size_t n)
{
	buf_printf(out, "local redis,KEYS%s%s%s%s", m->code ? ",_G,loadstring,load,server" : "",
	    m->meta ? ",getmetatable" : "", m->collect ? ",collectgarbage" : "", m->json ? ",cjson" : "");
	buf_puts(out, head);
	buf_puts(out, m->keys ? keys : no_keys);
	if (m->redis)
		put_redis(out, table, m, p, n);
	else
		buf_puts(out, "local redis0=nil ");
	if (m->meta)
		buf_puts(out, getmeta);
	if (m->collect)
		buf_puts(out, collect);
	if (m->json)
		buf_puts(out, json);
	if (m->code)
		buf_puts(out, load);
	buf_printf(out, "return redis0,Y%s%s%s%s end)(redis,KEYS,ARGV%s);", m->code ? ",E,ls,ld,redis0" : "",
	    m->meta ? ",gm" : "", m->collect ? ",cg" : "", m->json ? ",cj" : "", m->code ? ",_G" : "");
}

int prelude_wrap(const struct buf *table, const void *body, size_t n, struct buf *out, bool *bare)
{
	static const char *const json_words[] = { "encode", "decode", "null", NULL };
	const char *p = n ? body : "";
	struct mentioned m = {
		.code = names_it(p, n, "_G") || names_it(p, n, "load") || names_it(p, n, "loadstring") ||
		    names_it(p, n, "server"),
	};
	size_t line = 0;

	m.redis = m.code || mentions(p, n, "redis");
	m.keys = m.code || mentions(p, n, "KEYS");
	m.meta = m.code || mentions(p, n, "getmetatable");
	m.collect = m.code || mentions(p, n, "collectgarbage");
	m.json = m.code || !only_with(p, n, "cjson", json_words);
	*bare = !(m.redis || m.keys || m.meta || m.collect || m.json);
	if (n >= 2 && p[0] == '#' && p[1] == '!') { /* "#!lua flags=...": stays the first line */
		const char *end = memchr(p, '\n', n);

		*bare |= end == NULL; /* the store says what is wrong with it */
		line = end ? (size_t)(end - p) + 1 : n;
	}
	buf_put(out, p, line);
	if (!*bare)
		put_prelude(out, table, &m, p + line, n - line);
	buf_put(out, p + line, n - line);
	return out->failed ? -1 : 0;
}
