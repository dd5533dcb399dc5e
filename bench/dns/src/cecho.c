// SPDX-License-Identifier: Apache-2.0
// cecho PORT mmsg|single : UDP "echo" that only sets QR; the kernel-path floor. Exits after 120 s.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#define B 32
int main(int c,char**v){alarm(120);int fd=socket(AF_INET6,SOCK_DGRAM,0);int bs=4<<20;setsockopt(fd,SOL_SOCKET,SO_RCVBUF,&bs,4);setsockopt(fd,SOL_SOCKET,SO_SNDBUF,&bs,4);
 struct sockaddr_in6 a={.sin6_family=AF_INET6,.sin6_port=htons(atoi(v[1])),.sin6_addr=in6addr_loopback};if(bind(fd,(void*)&a,sizeof a))return 1;
 static unsigned char b[B][1500];struct sockaddr_in6 pa[B];struct mmsghdr m[B];struct iovec io[B];memset(m,0,sizeof m);
 if(c>2&&!strcmp(v[2],"single"))for(;;){socklen_t l=sizeof pa[0];ssize_t r=recvfrom(fd,b[0],1500,0,(void*)&pa[0],&l);if(r<12)continue;b[0][2]|=0x80;sendto(fd,b[0],r,0,(void*)&pa[0],l);}
 for(;;){for(int i=0;i<B;i++){io[i].iov_base=b[i];io[i].iov_len=1500;m[i].msg_hdr.msg_iov=&io[i];m[i].msg_hdr.msg_iovlen=1;m[i].msg_hdr.msg_name=&pa[i];m[i].msg_hdr.msg_namelen=sizeof pa[i];}
  int r=recvmmsg(fd,m,B,MSG_WAITFORONE,0);if(r<=0)continue;
  for(int i=0;i<r;i++){b[i][2]|=0x80;io[i].iov_len=m[i].msg_len;}
  for(int o=0;o<r;){int s=sendmmsg(fd,m+o,r-o,0);if(s<=0)break;o+=s;}}}
