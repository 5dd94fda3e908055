#include <immintrin.h>
#include <cstdio>
#include <ctime>
#include <cstring>
#include <cstdlib>
static double now(){timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+1e-9*t.tv_nsec;}
int main(){double best=0;for(int r=0;r<20;r++){__m512 a[16];for(int i=0;i<16;i++)a[i]=_mm512_set1_ps(i);__m512 m=_mm512_set1_ps(.999f),b=_mm512_set1_ps(.1f);
double t=now();for(int i=0;i<2000000;i++){for(int j=0;j<16;j++)a[j]=_mm512_fmadd_ps(a[j],m,b); asm volatile(""::: "memory");}
double d=now()-t;volatile float s=0;for(int i=0;i<16;i++)s+=_mm512_reduce_add_ps(a[i]);double g=2000000.*16*32/d/1e9;if(g>best)best=g;}
printf("peak %.1f GF/s\n",best);
long n=64<<20;char*p=(char*)malloc(n),*q=(char*)malloc(n);memset(p,1,n);memset(q,1,n);double bb=1e9;for(int r=0;r<10;r++){double t=now();memcpy(q,p,n);double d=now()-t;if(d<bb)bb=d;}printf("copy %.1f GB/s (r+w)\n",2.*n/bb/1e9);}
