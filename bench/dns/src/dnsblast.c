// SPDX-License-Identifier: Apache-2.0
// dnsblast: bounded loopback DNS load generator (recvmmsg/sendmmsg).
// dnsblast PORT QUERYFILE SECONDS WINDOW      closed loop, WINDOW outstanding over 8 sockets
// dnsblast PORT QUERYFILE SECONDS 0 RATE      open loop at RATE q/s, prints latency percentiles
//                                             from when a query was sent to when its reply had arrived at the socket, as the kernel
//                                             stamps it: dnsblast itself may get its processor, which others have too, later than both.
//                                             late99 is how late after its time a query was sent at most in 99 of 100 cases
// dnsblast PORT QUERYFILE SECONDS -1          wait until the first query of the file gets an answer with ANCOUNT>0
// Only ::1 is ever contacted; SECONDS is capped at 60.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#define NS 8
#define B 32
static double now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec*1e-9;}
// The kernel stamps by this clock.
static long stamp(void){struct timespec t;clock_gettime(CLOCK_REALTIME,&t);return t.tv_sec*1000000000L+t.tv_nsec;}
// receive takes one reply and gives when it had arrived, in ns; 0: there is none.
static long receive(int fd,unsigned char*b,int len){union{char room[CMSG_SPACE(sizeof(struct timespec))];struct cmsghdr head;}c;struct iovec v={b,len};
 struct msghdr m={.msg_iov=&v,.msg_iovlen=1,.msg_control=&c,.msg_controllen=sizeof c};if(recvmsg(fd,&m,MSG_DONTWAIT)<12)return 0;
 struct cmsghdr*h=CMSG_FIRSTHDR(&m);struct timespec t;if(!h||h->cmsg_type!=SCM_TIMESTAMPNS)return stamp();
 memcpy(&t,CMSG_DATA(h),sizeof t);return t.tv_sec*1000000000L+t.tv_nsec;}
static unsigned char (*Q)[96];static int *QL;static int nq;
static void load(const char*fn){FILE*f=fopen(fn,"r");char line[300];if(!f){perror(fn);exit(1);}
 Q=malloc(96*400000);QL=malloc(4*400000);
 while(nq<400000&&fgets(line,300,f)){char nm[256],ty[16];if(sscanf(line,"%255s %15s",nm,ty)!=2)continue;
  unsigned char*p=Q[nq];memset(p,0,12);p[5]=1;int o=12;char*s=strtok(nm,".");
  while(s){int l=strlen(s);if(o+l+6>96)exit(1);p[o++]=l;memcpy(p+o,s,l);o+=l;s=strtok(0,".");}
  p[o++]=0;p[o++]=0;p[o++]=!strcmp(ty,"AAAA")?28:1;p[o++]=0;p[o++]=1;QL[nq++]=o;}fclose(f);}
static int cmp(const void*a,const void*b){float x=*(float*)a,y=*(float*)b;return x<y?-1:x>y;}
int main(int c,char**v){if(c<5)return 2;load(v[2]);double secs=atof(v[3]);if(secs>60)secs=60;int win=atoi(v[4]);double rate=c>5?atof(v[5]):0;
 int fd[NS];struct sockaddr_in6 a={.sin6_family=AF_INET6,.sin6_port=htons(atoi(v[1])),.sin6_addr=in6addr_loopback};
 for(int i=0;i<NS;i++){fd[i]=socket(AF_INET6,SOCK_DGRAM,0);int bs=4<<20;setsockopt(fd[i],SOL_SOCKET,SO_RCVBUF,&bs,4);setsockopt(fd[i],SOL_SOCKET,SO_SNDBUF,&bs,4);
  if(connect(fd[i],(void*)&a,sizeof a)){perror("connect");return 1;}}
 static unsigned char rb[B][1500];struct mmsghdr rm[B],sm[B];struct iovec ri[B],si[B];memset(rm,0,sizeof rm);memset(sm,0,sizeof sm);
 for(int i=0;i<B;i++){ri[i].iov_base=rb[i];ri[i].iov_len=1500;rm[i].msg_hdr.msg_iov=&ri[i];rm[i].msg_hdr.msg_iovlen=1;sm[i].msg_hdr.msg_iov=&si[i];sm[i].msg_hdr.msg_iovlen=1;}
 if(win<0){double t0=now();unsigned char*p=Q[0];for(;;){double t=now();if(t-t0>secs)return 1;send(fd[0],p,QL[0],0);usleep(5000);
   ssize_t r;while((r=recv(fd[0],rb[0],1500,MSG_DONTWAIT))>=12)if(rb[0][6]<<8|rb[0][7])return 0;}}
 long sent=0,got=0,err=0,an=0,bytes=0,lost=0;int qi=0;unsigned short id=0;double t0=now(),end=t0+secs;
 if(!rate){int out[NS]={0};double last[NS];for(int i=0;i<NS;i++)last[i]=t0;int w=win/NS?win/NS:1;
  while(1){double t=now();if(t>end)break;
   for(int s=0;s<NS;s++){int n=w-out[s];if(n>=B/2||(n>0&&out[s]==0)||n==w){if(n>B)n=B;
     for(int i=0;i<n;i++){unsigned char*p=Q[qi];id++;p[0]=id>>8;p[1]=id;si[i].iov_base=p;si[i].iov_len=QL[qi];if(++qi==nq)qi=0;}
     int r=sendmmsg(fd[s],sm,n,0);if(r>0){sent+=r;out[s]+=r;}}
    int r=recvmmsg(fd[s],rm,B,MSG_DONTWAIT,0);
    if(r>0){for(int i=0;i<r;i++){got++;bytes+=rm[i].msg_len;an+=rb[i][6]<<8|rb[i][7];if(rb[i][3]&15)err++;}out[s]-=r;if(out[s]<0)out[s]=0;last[s]=t;}
    else if(out[s]&&t-last[s]>0.2){lost+=out[s];out[s]=0;last[s]=t;}}}
  double d=now()-t0;printf("blast qps=%.0f sent=%ld got=%ld lost=%ld rcode_nonzero=%ld avg_an=%.2f avg_len=%.1f\n",got/d,sent,got,lost,err,got?(double)an/got:0,got?(double)bytes/got:0);
 }else{long cap=(long)(rate*secs)+1000;float*lat=malloc(cap*4),*late=malloc(cap*4);static long ts[NS][65536];long n=0;double next=t0;int s=0;
  struct pollfd pf[NS];for(int i=0;i<NS;i++){int on=1;setsockopt(fd[i],SOL_SOCKET,SO_TIMESTAMPNS,&on,sizeof on);pf[i]=(struct pollfd){.fd=fd[i],.events=POLLIN};}
  while(1){double t=now();if(t>end+0.2)break;
   // It sleeps meanwhile: a real-time process that spins is stopped by the kernel for a part of each second.
   double left=(next<end?next:end+0.2)-t;if(left>0){struct timespec w={.tv_sec=left,.tv_nsec=(left-(long)left)*1e9};ppoll(pf,NS,&w,0);t=now();}
   if(t<end&&t>=next){unsigned char*p=Q[qi];id++;p[0]=id>>8;p[1]=id;ts[s][id]=stamp();if(sent<cap)late[sent]=(t-next)*1e6;if(send(fd[s],p,QL[qi],0)>0)sent++;if(++qi==nq)qi=0;s=(s+1)%NS;next+=1/rate;}
   for(int k=0;k<NS;k++){long u=receive(fd[k],rb[0],1500);if(u){int i=rb[0][0]<<8|rb[0][1];if(n<cap)lat[n++]=(u-ts[k][i])*1e-3;got++;}}}
  qsort(lat,n,4,cmp);qsort(late,sent<cap?sent:cap,4,cmp);
  #define P(x) (n?lat[(long)((n-1)*x)]:0)
  printf("lat rate=%.0f sent=%ld got=%ld p50=%.1fus p90=%.1fus p99=%.1fus p999=%.1fus max=%.0fus late99=%.0fus\n",rate,sent,got,P(.5),P(.9),P(.99),P(.999),P(1.0),sent?late[(long)((sent-1)*.99)]:0);}
 return 0;}
