/* probe.pml: one probe at a time in the whole fleet, as handler/internal/fleet implements it.
 *
 * A record that is written by compare-and-swap; instances that read it arbitrarily late and whose clocks are uncertain;
 * writes that are applied late or never; lost responses; instances that are killed. README.md has the commands.
 *
 * What each action models:
 *   take      Circuit.claimProbe, by the earliest bound: Replica.shouldClaimProbe
 *   start     Replica.acquireProbe and RenewProbe, by the latest bound
 *   renew     Circuit.renewLease: the same lease, a later epoch
 *   result    Update.finishProbe: only under its own lease
 *   give      Circuit.returnProbe: no request used the probe
 *   trip      Circuit.trip
 *   object    Circuit.Reset, by Circuit.object or an operator: closes a circuit under a lease, too, whose holder may not know
 *   net[i]    exchanges in flight: Store.Replace with If-Match, of the whole row: writes for other records only conflict
 *   view      Replica.adoptRecord
 */
#ifndef N
#define N 2          /* instances */
#endif
#ifndef TMAX
#define TMAX 8       /* duration */
#endif
#ifndef EPMAX
#define EPMAX 8      /* number of transitions */
#endif
#ifndef Q
#define Q 1          /* writes in flight of one instance */
#endif
#ifndef U
#define U 1          /* uncertainty of clocks, either way */
#endif
#define L 3          /* lease */
#define D 1          /* trip */

#define CLOSED 0
#define OPEN   1
#define HALF   2
#define NOBODY 9

/* The mutants. */
#ifdef NOCAS
#define MATCH(e) true
#else
#define MATCH(e) (ep == e)
#endif
#ifdef NAIVE
#define LATE U       /* a slow local clock reaches its deadline late */
#else
#define LATE 0
#endif

byte now = 0;

/* the record; ep is its epoch and its ETag, ls the epoch in which the lease was taken */
byte st = OPEN, ep = 1, own = NOBODY, ls = 0, t = D;
byte lu = 0;         /* end of a lease that its holder did not end */

byte probing = 0;    /* probes at the backend */
byte dl[N];          /* when the probe of i is certainly over, by the true clock; 0 = it has none */
chan net[N] = [Q] of { byte, byte, byte, byte, byte };   /* at epoch, phase, lease (0 = a new one), until, unfinished lease */

#define MAYPASS(i) (dl[i] == 0 || now + 1 < dl[i])
#if N > 2
#define ALLMAYPASS (MAYPASS(0) && MAYPASS(1) && MAYPASS(2))
#else
#define ALLMAYPASS (MAYPASS(0) && MAYPASS(1))
#endif

/* the table: applies writes in any order between instances, late, or loses them */
active proctype table() {
  byte e, s, l, x, u, i;
  do
  :: atomic {
       select(i : 0 .. N-1); nempty(net[i]) -> net[i]?e,s,l,x,u;
       if
       :: MATCH(e) && ep < EPMAX -> ep++; st = s; t = x; lu = u; own = (s == HALF -> i : NOBODY); ls = (s == HALF -> (l == 0 -> ep : l) : 0)
       :: true -> skip                                         /* 412, or lost */
       fi; e = 0; s = 0; l = 0; x = 0; u = 0; i = 0 }
  od
}

/* time passes, but not past the deadline of a probe in flight: its holder, whose clock is not behind, breaks it off before */
active proctype clock() {
  do
  :: atomic { now < TMAX && ALLMAYPASS -> now++ }
  od
}

proctype instance(byte i) {
  byte vst = CLOSED, vep = 0, vown = NOBODY, vls = 0, vt = 0, vlu = 0;   /* its view of the record */
  byte used = 0, done = 0;                                      /* the lease whose probe was sent, and is over */
  short lo, hi; byte o;
  do
  :: atomic { vst = st; vep = ep; vown = own; vls = ls; vt = t; vlu = lu;               /* view */
       if                                                       /* the lease of a probe in flight was renewed */
       :: dl[i] != 0 && vst == HALF && vown == i && vls == used && vt + LATE > dl[i] -> dl[i] = vt + LATE
       :: else -> skip
       fi }
  :: atomic { vst != CLOSED && nfull(net[i]) && dl[i] == 0;                             /* take */
       select(o : 0 .. 2*U);
#ifdef NAIVE
       lo = now + o - U; hi = lo;
#else
       lo = now + o - 2*U; hi = lo + 2*U;
#endif
       if
       :: lo >= vt && hi + L < 30 -> net[i]!vep,HALF,0,(hi + L),0
       :: else -> skip
       fi; o = 0; lo = 0; hi = 0 }
  :: atomic { vst == HALF && vown == i && used != vls && dl[i] == 0;                    /* start */
       select(o : 0 .. 2*U);
#ifdef NAIVE
       hi = now + o - U;
#else
       hi = now + o;
#endif
       if                                                       /* leaseMargin: strictly before the deadline */
       :: hi < vt -> used = vls; done = 0; dl[i] = vt + LATE; probing++; assert(probing <= 1)
       :: else -> skip
       fi; o = 0; hi = 0 }
  :: atomic { dl[i] != 0 && vst == HALF && vown == i && vls == used && nfull(net[i]) && now + 2*U + L < 30 ->   /* renew */
       select(o : 0 .. 2*U);
#ifdef SHORTENS
       net[i]!vep,HALF,vls,(now + o + L),0;
#else
       net[i]!vep,HALF,vls,(now + o + L > vt -> now + o + L : vt),0;                   /* never ends earlier */
#endif
       o = 0 }
  :: atomic { vst == HALF && vown == i && used != vls && nfull(net[i]) ->               /* give */
       select(o : 0 .. 2*U); used = vls; net[i]!vep,OPEN,0,(now > o -> now - o : 0),0; o = 0 }
  :: atomic { dl[i] != 0 -> probing--; dl[i] = 0; done = 1 }                            /* the probe ends, at any time */
  :: atomic { done && vst == HALF && vown == i && vls == used && nfull(net[i]) ->       /* result; or never, if it was killed */
       if :: net[i]!vep,CLOSED,0,0,0 :: net[i]!vep,OPEN,0,(now + U + D),0 fi }
  :: atomic { vst == CLOSED && nfull(net[i]) && vep > 0 ->                              /* trip */
       net[i]!vep,OPEN,0,(now + U + D > vlu -> now + U + D : vlu),vlu }
  :: atomic { vst != CLOSED && nfull(net[i]) && vep > 0 ->                              /* object */
#ifdef FORGETS
       net[i]!vep,CLOSED,0,0,(vst == HALF -> vt : 0) }
#else
       net[i]!vep,CLOSED,0,0,(vst == HALF -> vt : vlu) }
#endif
  od
}

init { byte k; atomic { for (k : 0 .. N-1) { run instance(k) } } }
