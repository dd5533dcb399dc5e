// SPDX-License-Identifier: Apache-2.0
// reaper COMMAND... : runs a server and takes in what it leaves behind, so that the CPU time of processes that end (NSD forks
// its servers anew at each change) is this process's cutime and cstime. SIGTERM goes to all children.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s){char p[64];int c;snprintf(p,64,"/proc/self/task/%d/children",getpid());FILE*f=fopen(p,"r");if(!f)return;
 while(fscanf(f,"%d",&c)==1)kill(c,s);fclose(f);}
int main(int c,char**v){if(c<2)return 2;prctl(PR_SET_CHILD_SUBREAPER,1);
 int pid=fork();if(pid<0)return 1;if(!pid){execvp(v[1],v+1);perror(v[1]);_exit(127);}
 signal(SIGTERM,end);
 for(;;)if(wait(0)<0&&errno==ECHILD)return 0;}
