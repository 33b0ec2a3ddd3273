"""What exporters print."""

DCGM = b"""# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a",modelName="NVIDIA H100",Hostname="n1",pod="w-0",namespace="ml",container="node"} 1980
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",exported_pod="w-0",exported_namespace="ml",pod="dcgm-x",namespace="monitoring"} 97
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a"} 1024
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a"} 3000
DCGM_FI_DEV_FB_RESERVED{gpu="0",UUID="GPU-a"} 72
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 61
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a"} 512.5
DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{gpu="0",UUID="GPU-a"} 0.42
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a",err_code="79",err_msg="GPU has fallen off the bus"} 79
DCGM_EXP_XID_ERRORS_COUNT{gpu="0",UUID="GPU-a",xid="79",window_size_in_ms="300000"} 2
DCGM_EXP_CLOCK_EVENTS_COUNT{gpu="0",UUID="GPU-a",clock_event="hw_thermal"} 3
DCGM_EXP_CLOCK_EVENTS_COUNT{gpu="0",UUID="GPU-a",clock_event="gpu_idle"} 9
DCGM_EXP_CLOCK_EVENTS_COUNT{gpu="0",UUID="GPU-a",clock_event="sync_boost"} 0
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b",modelName="NVIDIA H100",hostname="n1"} 9223372036854775794
DCGM_FI_DEV_CLOCKS_EVENT_REASONS{gpu="1",UUID="GPU-b"} 36
DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-b"} NaN
DCGM_FI_PROF_DRAM_ACTIVE{gpu="1",UUID="GPU-b"} 0.5
"""
EFA = b"""# SIMULATED
node_amazonefa_info{device="rdmap1s0"} 1
node_amazonefa_tx_bytes{device="rdmap1s0",port="1"} %d
node_amazonefa_rx_bytes{device="rdmap1s0",port="1"} 500
node_amazonefa_tx_pkts{device="rdmap1s0",port="1"} %d
node_amazonefa_retrans_pkts{device="rdmap1s0",port="1"} %d
node_amazonefa_rx_drops{device="rdmap1s0",port="1"} 4
node_amazonefa_unresponsive_remote_events{device="rdmap1s0",port="1"} 1
"""
